"""The stream of a dump program, taken apart into rows of tables while it comes.

Both shapes of extended inserts are read: MariaDB's, a row a line, by replacing separators in whole blocks, and
MySQL's, all rows on one line, by counting the quotes of every piece. Memory: a block, however long a row is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Protocol

from tklbam_core.api import FormatError

from .names import quote

_QUOTES = methodcaller("count", b"'")
_HALVES = (b"),\n", b"),", b");", b")")
_INSERT = b"INSERT INTO "
_NAME = rb"(?:`(?:[^`]|``)*`|row_start|row_end)"
_HEADER = re.compile(rb"INSERT INTO `((?:[^`]|``)*)` (?:\((" + _NAME + rb"(?:, " + _NAME + rb")*)\) )?VALUES[ \n]+")
_NAMES = re.compile(_NAME)
_HEADER_CAP = 1 << 20


class Sink(Protocol):
    """Where the rows of one table go. `columns` are the columns in the order of the rows, known from the first on."""

    columns: list[str]

    def pieces(self, rows: list[bytes], ended: bool, /) -> object:
        """Takes rows. The first goes on where the last one stopped; `ended`: the last is whole."""


class Splitter:
    """Takes blocks of the stream; finds the table of each insert among those expected and gives its rows to it.

    `tables` is database → table → sink. Inserts into tables that are not expected are passed over and
    named in `strangers`. `at` is the table being read, for error messages.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Sink]], database: str | None = None) -> None:
        self._uses = {f"USE {quote(name)};\n".encode("utf-8", "surrogateescape"): name for name in tables}
        self._tables = tables
        self._database = database
        self._table: str | None = None
        self._header = b""
        self._buffer = b""
        self._state: Callable[[bool], bool] = self._outside
        self._in_string = False
        self._sink: Sink | None = None
        self.strangers: set[str] = set()

    @property
    def at(self) -> str:
        return f"{self._database}.{self._table}" if self._table else (self._database or "")

    def feed(self, block: bytes) -> None:
        self._buffer = self._buffer + block if self._buffer else block
        while self._state(False):
            continue

    def finish(self) -> bool:
        """The stream has ended; whether it ended between statements."""
        while self._state(True):
            continue
        return self._state == self._outside and not self._buffer.strip()

    @property
    def is_between(self) -> bool:
        """Whether what came so far is whole statements."""
        return self._state == self._outside and not self._buffer

    # Each state takes what it can from the buffer and says whether to go on.

    def _outside(self, ended: bool) -> bool:
        if self._buffer.startswith(_INSERT):
            return self._open()
        if len(self._buffer) < len(_INSERT) and not ended and b"\n" not in self._buffer:
            return False
        end = self._buffer.find(b"\n") + 1
        if not end:
            return False
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        if line in self._uses:
            self._database = self._uses[line]
            self._table, self._header = None, b""
        return True

    def _open(self) -> bool:
        if not (self._header and self._buffer.startswith(self._header)):
            match = _HEADER.match(self._buffer)
            if match is None or match.end() == len(self._buffer):
                if len(self._buffer) > _HEADER_CAP:
                    raise FormatError("the dump program's output", None, "an INSERT without a list of columns")
                return False
            self._header = match.group()
            self._table = _plain(b"`" + match.group(1) + b"`")
            self._sink = self._tables.get(self._database or "", {}).get(self._table)
            if self._sink is None:
                self.strangers.add(self.at)
            else:
                self._sink.columns = [_plain(name) for name in _NAMES.findall(match.group(2) or b"")]
        self._buffer = self._buffer[len(self._header) :]
        self._state = self._begin
        return True

    def _begin(self, _ended: bool) -> bool:
        if not self._buffer:
            return False
        self._buffer = self._buffer[1:]  # the first row's parenthesis
        self._in_string = False
        self._state = self._pieces
        return True

    def _lines(self, ended: bool) -> bool:
        # Looked for from the back, because that is three times as fast, and most blocks have no end.
        if self._buffer.rfind(b");\n") < 0:
            held = 0 if ended else _held(self._buffer)
            rows = self._buffer[: len(self._buffer) - held].split(b"),\n(")
            self._buffer = self._buffer[len(self._buffer) - held :]
            self._give(rows, False)
            return False
        end = self._buffer.index(b");\n")
        self._give(self._buffer[:end].split(b"),\n("), True)
        self._buffer = self._buffer[end + 3 :]
        self._state = self._outside
        return True

    def _pieces(self, ended: bool) -> bool:
        if b"),\n" in self._buffer:  # a row a line: no string has a newline in it
            self._state = self._lines
            return True
        end = self._buffer.find(b");\n")
        stop = end if end >= 0 else len(self._buffer) - (0 if ended else _held(self._buffer))
        self._give(self._rows_of(self._buffer[:stop]), end >= 0)
        self._buffer = self._buffer[stop if end < 0 else end + 3 :]
        if end < 0:
            return False
        self._state = self._outside
        return True

    def _rows_of(self, block: bytes) -> list[bytes]:
        """A block cut at the separators that are in no string."""
        pieces = block.split(b"),(")
        # Of the same length, but without escaped quotes: those that are left begin and end strings.
        bare = block.replace(b"\\\\", b"--").replace(b"\\'", b"--") if b"\\" in block else block
        rows, row = [], pieces[:1]
        following = iter(pieces[1:])
        for quotes in map(_QUOTES, bare.split(b"),(")):
            if quotes % 2:
                self._in_string = not self._in_string
            piece = next(following, None)
            if piece is None:
                break
            if self._in_string:
                row.append(piece)
            else:
                rows.append(row[0] if len(row) == 1 else b"),(".join(row))
                row = [piece]
        rows.append(b"),(".join(row))
        return rows

    def _give(self, rows: list[bytes], ended: bool) -> None:
        if self._sink is not None:
            self._sink.pieces(rows, ended)


def _held(block: bytes) -> int:
    """How many bytes at its end wait for what follows: half a separator, or half an escape."""
    if block.endswith(b"\\"):
        return (len(block) - len(block.rstrip(b"\\"))) % 2
    return next((len(half) for half in _HALVES if block.endswith(half)), 0)


def _plain(name: bytes) -> str:
    text = name[1:-1].replace(b"``", b"`") if name.startswith(b"`") else name
    return text.decode("utf-8", "surrogateescape")
