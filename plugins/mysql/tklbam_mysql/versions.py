"""The rows of system-versioned tables that are current: they end when time does, which is later since MariaDB 11.5.

An older server's current rows would be past ones on a newer server, and not to be seen.
"""

from __future__ import annotations

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
_ROW_END = re.compile(r"^  (`(?:[^`]|``)*`) [^\n]* GENERATED ALWAYS AS ROW END", re.MULTILINE | re.IGNORECASE)


def end_column(statement: str, info: TableFile) -> str | None:
    """The column that says when a row ended, None where the rows have no past."""
    if not info.versioned:
        return None
    named = _ROW_END.search(statement)
    return unquote(named.group(1)) if named else info.columns[-1]


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
