"""Rows that the dump programs can't print exactly, printed here in the same form.

FLOAT comes out of them with six digits, text in some character sets changes on its way through Unicode, and names with
newlines break lines. Slower by far, so only tables that need it are read this way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .catalogue import HEX_TYPES, Table
from .connection import Client, Session
from .names import qualified, quote

_NUMBERS = frozenset(["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"])
_SPECIAL = re.compile(rb"[\0\n\r\\'\"\x1a]")
_ESCAPES = {
    b"\0": b"\\0", b"\n": b"\\n", b"\r": b"\\r", b"\\": b"\\\\", b"'": b"\\'", b'"': b'\\"', b"\x1a": b"\\Z",
}  # fmt: skip
BLOCK = 256 * 1024
VECTORS_MARIADB, VECTORS_MYSQL = (11, 7), (9, 0)
"""Versions of dump programs since which they know vectors."""
HISTORY = (10, 11)
"""The version of MariaDB's since which they print past rows."""


def needs_exact(table: Table, unsafe: frozenset[str], client: Client) -> bool:
    """Whether the dump program would lose something of this table."""
    if table.external:
        return False
    names = [table.name, *(column.name for column in table.columns)]
    if table.transaction_precise or (table.versioned and not prints_history(client)):
        return True  # mariadb-dump refuses the former along with others whose history is wanted
    # Programs that don't know vectors print them as text.
    types = (
        {"float"}
        if client.version >= (VECTORS_MARIADB if client.is_mariadb else VECTORS_MYSQL)
        else {"float", "vector"}
    )
    return any("\n" in name or "\r" in name for name in names) or any(
        column.type in types or column.charset in unsafe for column in table.columns
    )


def prints_history(client: Client) -> bool:
    return client.is_mariadb and client.version >= HISTORY


def hex_columns(table: Table, unsafe: frozenset[str]) -> list[str]:
    return [column.name for column in table.columns if column.type in HEX_TYPES or column.charset in unsafe]


def row_blocks(session: Session, table: Table, unsafe: frozenset[str]) -> Iterator[bytes]:
    """The table's rows as lines of the format, in blocks. `session` is raw (bytes, unbuffered), in its snapshot."""
    printers: list[Callable[[bytes], bytes]] = []
    wanted = []
    for column in table.columns:
        name = quote(column.name)
        if column.type in HEX_TYPES:
            wanted.append(name)
            printers.append(_print_hex)
        elif column.charset in unsafe:
            wanted.append(f"CAST({name} AS BINARY)")
            printers.append(_print_hex)
        elif column.type == "float":
            wanted.append(f"{name}+0e0")
            printers.append(bytes)
        else:
            wanted.append(name)
            printers.append(bytes if column.type in _NUMBERS else _print_text)
    source = qualified(table.database, table.name)
    if table.has_history:
        source += " FOR SYSTEM_TIME ALL"
        if not table.period:
            wanted += ["row_start", "row_end"]
            printers += [_print_text, _print_text]
    order = f" ORDER BY {', '.join(quote(column) for column in table.key)}" if table.key else ""
    rows: list[bytes] = []
    size = 0
    for row in session.stream(f"SELECT {', '.join(wanted)} FROM {source}{order}"):
        line = b",".join(
            b"NULL" if value is None else printer(value) for printer, value in zip(printers, row, strict=True)
        )
        rows.append(line)
        size += len(line)
        if size > BLOCK:
            yield b"\n".join(rows) + b"\n"
            rows, size = [], 0
    if rows:
        yield b"\n".join(rows) + b"\n"


def _print_hex(value: bytes) -> bytes:
    return b"0x" + value.hex().upper().encode() if value else b"''"


def _print_text(value: bytes) -> bytes:
    if _SPECIAL.search(value) is None:
        return b"'" + value + b"'"
    return b"'" + _SPECIAL.sub(lambda match: _ESCAPES[match.group()], value) + b"'"
