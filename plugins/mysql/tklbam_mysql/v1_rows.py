"""Rows of the `mysql` database's raw tables, as classic dumps and scripts have them: values instead of literals."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tklbam_core.api import FormatError

from .layout import TableEntry
from .names import unquote

Row = dict[str, bytes]
"""Column → value. NULL is empty."""
_VALUE = re.compile(
    rb"(?:_\w+ ?)?(?:'(?P<text>(?:[^'\\]|\\.|'')*)'|0x(?P<hex>(?:[0-9A-Fa-f]{2})*)|(?P<plain>[^',]+))(?P<more>,|$)",
    re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)|''", re.DOTALL)
_MEANT = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"Z": b"\x1a"}
_TOKEN = re.compile(r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|[(),]|[^`'(),]+", re.DOTALL)


def read_rows(table: TableEntry) -> Iterator[Row]:
    """Raises FormatError for a line that is no row of the table."""
    names = table.info.columns or column_names(table.statement)
    for path in table.row_files():
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                values = list(_values(line.rstrip(b"\n")))
                if len(values) != len(names):
                    raise FormatError(
                        path, number, f"it is no row of {table.database}.{table.name}", "Repair or remove that line."
                    )
                yield dict(zip(names, values, strict=True))


def _values(line: bytes) -> Iterator[bytes]:
    at, more = 0, True
    while more and (match := _VALUE.match(line, at)):
        if (text := match["text"]) is not None:
            yield _ESCAPED.sub(_meant, text)
        elif (digits := match["hex"]) is not None:
            yield bytes.fromhex(digits.decode())
        else:
            yield b"" if match["plain"] == b"NULL" else match["plain"]
        at, more = match.end(), bool(match["more"])


def _meant(match: re.Match[bytes]) -> bytes:
    escaped = match.group(1)
    return b"'" if escaped is None else _MEANT.get(escaped, escaped)


def column_names(statement: str) -> list[str]:
    """The columns that a CREATE TABLE statement defines, in order."""
    names, depth, begins = [], 0, False
    for token in _TOKEN.findall(statement):
        if begins and token.startswith("`"):
            names.append(unquote(token))
        begins = (token in "(," and depth + (token == "(") == 1) or (begins and token.isspace())
        depth += {"(": 1, ")": -1}.get(token, 0)
    return names
