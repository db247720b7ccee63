"""The index of a rollback area: what every path was. Specified in docs/formats/rollback-files.md."""

from __future__ import annotations

import os
import secrets
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..api.errors import FormatError
from ..api.files import sync_directory
from .carry import TYPES
from .escape import HEADER
from .records import Record, attribute_columns, attributes_of, write_record

DAMAGED = "The rollback area is damaged; what it holds can be put back by hand."

Batch = tuple[int, int]
"""Where a complete batch lies in the index: byte offsets of its start and its end."""

TYPE_WORDS = frozenset({"absent", "stat", "parent", *TYPES})


class Saved(NamedTuple):
    """One record: what `path` was. `content` is the name in `content/` (or in `moved/` for a directory)."""

    path: bytes
    type: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    device: int = 0
    inode: int = 0
    ctime: int = 0
    links: int = 0
    content: bytes = b""
    attributes: tuple[tuple[str, bytes], ...] = ()

    def columns(self) -> list[bytes]:
        numbers = (self.uid, self.gid, self.mtime, self.device, self.inode, self.ctime, self.links)
        return [
            self.path,
            self.type.encode("ascii"),
            b"0%o" % self.mode,
            *(b"%d" % number for number in numbers),
            self.content,
            *attribute_columns(dict(self.attributes)),
        ]

    @classmethod
    def of(cls, record: Record) -> Saved:
        """Raises FormatError."""
        if len(record.columns) < 11:
            raise record.wrong("a record of a rollback area has at least 11 columns")
        kind = os.fsdecode(record.columns[1])
        content = record.columns[10]
        if kind not in TYPE_WORDS or b"/" in content or content in (b".", b".."):
            raise record.wrong(f"type {kind!r} or content {content!r} is unknown here")
        return cls(
            record.path(),
            kind,
            record.number(2, 8),
            record.number(3),
            record.number(4),
            record.signed(5),
            record.number(6),
            record.number(7),
            record.signed(8),
            record.number(9),
            content,
            tuple(attributes_of(record, 11).items()),
        )


class SavedIndex:
    """The file `index` of an area. Batches are appended; only complete ones are ever read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._token: str | None = None

    @property
    def token(self) -> str:
        """The word in every temporary name of this restore and its rollback; made when first asked for."""
        if self._token is None:
            self._token = self._read_token() or self._begin()
        return self._token

    @property
    def prefix(self) -> bytes:
        """How every temporary name begins."""
        return b"." + self.token.encode("ascii") + b"-"

    def _read_token(self) -> str | None:
        try:
            with self.file.open("rb") as lines:
                header, line = lines.readline(), lines.readline()
        except FileNotFoundError:
            return None
        # Without its first two lines whole, nothing can have been saved yet.
        if header != HEADER or not line.startswith(b"token ") or not line.endswith(b"\n"):
            return None
        return line[len(b"token ") : -1].decode("ascii")

    def _begin(self) -> str:
        token = secrets.token_hex(4)
        with open(self.file, "wb", opener=_private) as out:
            out.write(HEADER + b"token " + token.encode("ascii") + b"\n")
            out.flush()
            os.fsync(out.fileno())
        sync_directory(self.file.parent)
        return token

    def open_batch(self) -> BinaryIO:
        """For appending a batch, after the last complete one."""
        first = len(HEADER) + len(b"token \n") + len(self.token)
        end = max((end for _, end in self.batches()), default=first)
        os.truncate(self.file, end)
        return self.file.open("ab")

    def close_batch(self, out: BinaryIO, count: int) -> None:
        """Ends a batch: from here on it counts. All that it refers to must be durable already."""
        out.flush()
        os.fsync(out.fileno())
        out.write(b"end %d\n" % count)
        out.flush()
        os.fsync(out.fileno())
        out.close()

    def batches(self) -> list[Batch]:
        """(start, end) byte offsets of the complete batches."""
        found: list[Batch] = []
        if self._read_token() is None:
            return found
        with self.file.open("rb") as lines:
            lines.readline()
            lines.readline()
            start = position = lines.tell()
            for line in lines:
                position += len(line)
                # A record's first column is a path and so begins with a slash.
                if line.startswith(b"end ") and line.endswith(b"\n"):
                    found.append((start, position))
                    start = position
        return found

    def records(self, batch: Batch, *, backwards: bool = False) -> Iterator[Saved]:
        """The records of a batch, in order or from the last to the first (then eight bytes a record are kept).

        Raises FormatError.
        """
        start, end = batch
        with self.file.open("rb") as lines:
            offsets = array("Q")
            if backwards:
                lines.seek(start)
                position = start
                while position < end:
                    offsets.append(position)
                    position += len(lines.readline())
                offsets.pop()
                for offset in reversed(offsets):
                    lines.seek(offset)
                    yield self._parse(offset, lines.readline())
                return
            lines.seek(start)
            position = start
            for line in lines:
                position += len(line)
                if position >= end:
                    break
                yield self._parse(position - len(line), line)

    def _parse(self, offset: int, line: bytes) -> Saved:
        try:
            return Saved.of(Record.parse(self.file, 0, line[:-1]))
        except FormatError as error:
            raise FormatError(f"{self.file} at byte {offset}", None, error.what, DAMAGED) from None


def write_saved(out: BinaryIO, saved: Saved) -> None:
    """Appends a record to an open batch."""
    write_record(out, saved.columns())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
