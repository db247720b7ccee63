"""The rows of system-versioned tables that are current: they end when time does, which is later since MariaDB 11.5.

An older server's current rows would be past ones on a newer server, and not to be seen. Servers before 10.11 can't be
given past rows at all.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from .connection import Session
from .layout import TableFile
from .names import literal, quote, unquote

ENDS = ("2038-01-19 03:14:07.999999", "2106-02-07 06:28:15.999999")
END_OF_TIME = "COALESCE(FROM_UNIXTIME(4294967295.999999), FROM_UNIXTIME(2147483647.999999))"
"""What ends current rows on the server that is asked, in UTC."""
VALUE = rb"(?:'(?:[^'\\\n]++|\\.)*+'|[^,'\n]++)"
"""A value of a row, in a pattern for bytes."""
_PERIOD = re.compile(r"^  (`(?:[^`]|``)*`) [^\n]* GENERATED ALWAYS AS ROW (START|END)", re.MULTILINE | re.IGNORECASE)


def end_column(statement: str, info: TableFile) -> str | None:
    """The column that says when a row ended, None where the rows have no past."""
    if not info.versioned:
        return None
    return _period(statement, info)[1]


def _period(statement: str, info: TableFile) -> tuple[str, str]:
    """The columns of a versioned table that say when a row began and ended."""
    named = {which.upper(): unquote(name) for name, which in _PERIOD.findall(statement)}
    start, end = info.columns[-2:] if not named else (named["START"], named["END"])
    return start, end


def end_of_time(session: Session) -> str:
    return str(session.value(f"SELECT {END_OF_TIME}"))


def assignment(column: str, variable: str, end: str) -> str:
    """For LOAD DATA: the column gets the variable's value, or this server's `end` of time."""
    return f"{quote(column)}=IF({variable} IN ({', '.join(map(literal, ENDS))}), {literal(end)}, {variable})"


def with_end(info: TableFile, column: str, end: str) -> Callable[[bytes], bytes]:
    """What puts the expression `end` where rows of the format end when time does."""
    before = b"".join([VALUE + b","] * info.columns.index(column))
    ends = "|".join(map(re.escape, ENDS)).encode()
    pattern = re.compile(b"^(" + before + b")'(?:" + ends + b")'(?=,|$)", re.MULTILINE)
    replacement = rb"\g<1>" + end.encode()
    return lambda block: pattern.sub(replacement, block)


class CurrentRows:
    """What makes lines of current rows, without their period, of a versioned table's lines.

    `info`: how they read; `past`: how many others there were.
    """

    def __init__(self, statement: str, info: TableFile) -> None:
        period = _period(statement, info)
        self.info = dataclasses.replace(
            info,
            columns=[name for name in info.columns if name not in period],
            generated=[name for name in info.generated if name not in period],
            versioned=False,
        )
        self._row = re.compile(b",".join(b"(" + VALUE + b")" for _ in info.columns))
        self._end = info.columns.index(period[1])
        self._kept = [number for number, name in enumerate(info.columns) if name not in period]
        self.past = 0

    def __call__(self, block: bytes) -> bytes:
        lines = []
        for line in block.removesuffix(b"\n").split(b"\n"):
            values = self._row.fullmatch(line)
            if values is None:
                continue  # and is missed when they are counted
            if values[self._end + 1].decode("latin-1").strip("'") in ENDS:
                lines.append(b",".join(values[number + 1] for number in self._kept))
            else:
                self.past += 1
        return b"\n".join(lines) + (b"\n" if lines and block.endswith(b"\n") else b"")
