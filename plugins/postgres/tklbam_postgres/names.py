"""Names: of files made from names of databases and tables, of databases that this plugin makes, of SQL identifiers."""

from __future__ import annotations

import re
import secrets

TEMPORARY = re.compile(r"tklbam_(new|old|gone)_[0-9a-f]{12}")
"""Databases of ours: being loaded, kept for a rollback, on their way out. Never dumped."""


def file_name(name: str) -> str:
    """A name (surrogates stand for bytes that are not UTF-8) as a file name: docs/formats/pgfs.md says how."""
    out = []
    for position, char in enumerate(name):
        if char in "/%" or ord(char) < 0x20 or ord(char) == 0x7F or (char == "." and position == 0):
            out.append(f"%{ord(char):02X}")
        elif "\udc80" <= char <= "\udcff":
            out.append(f"%{ord(char) - 0xDC00:02X}")
        else:
            out.append(char)
    return "".join(out)


def temporary_database(state: str) -> str:
    """A fresh database name; `state` is "new", "old" or "gone"."""
    return f"tklbam_{state}_{secrets.token_hex(6)}"


def is_temporary(database: str) -> bool:
    return TEMPORARY.fullmatch(database) is not None


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A value as an SQL string, whatever standard_conforming_strings says."""
    quoted = "'" + value.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in value else quoted
