"""Names of databases, tables and accounts: quoted for SQL, written as file names, and which are nobody's data."""

from __future__ import annotations

import re
import secrets

SYSTEM_DATABASES = frozenset(
    {"information_schema", "performance_schema", "mysql", "sys", "ndbinfo", "#mysql50#lost+found"}
)
"""Databases, and what servers take for one where their data are a file system's top directory."""
UNCODED = "#mysql50#"
"""How names begin that stand in the data directory as they are: since MySQL 5.1, servers write them in a code."""
_HIDDEN = re.compile(r"tklbam_(new|old)_[0-9a-f]{8}_[0-9]+")
_UNSAFE = re.compile(rb"[%/\x00-\x1f\x7f]|^\.")
_ESCAPES = {"\0": "\\0", "\n": "\\n", "\r": "\\r", "\\": "\\\\", "'": "\\'", '"': '\\"', "\x1a": "\\Z"}
_SPECIAL = re.compile(r"[\0\n\r\\'\"\x1a]")

FOREIGN_KEY = re.compile(
    r"^  (CONSTRAINT (`(?:[^`]|``)*`) FOREIGN KEY .* REFERENCES (?:(`(?:[^`]|``)*`)\.)?(`(?:[^`]|``)*`) .*?),?$"
)
"""A line of SHOW CREATE TABLE: the clause, its name, the database referred to (None: the table's own), the table."""


def quote(identifier: str) -> str:
    """The identifier in backticks."""
    return "`" + identifier.replace("`", "``") + "`"


def unquote(quoted: str) -> str:
    """The identifier out of its backticks."""
    return quoted[1:-1].replace("``", "`")


def qualified(database: str, name: str) -> str:
    return f"{quote(database)}.{quote(name)}"


def literal(text: str) -> str:
    """The text as a string literal (for sessions without NO_BACKSLASH_ESCAPES)."""
    return "'" + _SPECIAL.sub(lambda match: _ESCAPES[match.group()], text) + "'"


def to_file_name(name: str) -> str:
    """A database's or table's name as one path component (docs/formats/myfs.md, "Names")."""
    raw = name.encode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda match: b"%%%02X" % match.group()[0], raw).decode("utf-8", "surrogateescape")


def from_file_name(file_name: str) -> str:
    raw = file_name.encode("utf-8", "surrogateescape")
    plain = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match.group(1), 16)]), raw)
    return plain.decode("utf-8", "surrogateescape")


class HiddenNames:
    """Names for the databases of one restore that nobody should see: `new` to load into, `old` to keep aside."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secrets.token_hex(4)

    def new(self, number: int) -> str:
        return f"tklbam_new_{self.token}_{number}"

    def old(self, number: int) -> str:
        return f"tklbam_old_{self.token}_{number}"


def is_hidden(database: str) -> bool:
    """Whether a database is one of ours, from a restore now or before."""
    return _HIDDEN.fullmatch(database) is not None
