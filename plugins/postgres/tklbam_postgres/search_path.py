"""Functions that do not say in which schema that is which they use.

Archives are restored with an empty search_path, so that nobody's objects come before the server's. What CHECK
constraints and indexes call may then find nothing, though it worked where it was dumped: the database's own
search_path is tried in a second attempt.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tklbam_core.api import DatabaseError

from . import toc
from .failures import TableError
from .sqltext import IDENTIFIER, statements

OWN = re.compile(rf"ALTER DATABASE {IDENTIFIER} SET search_path TO (.+)", re.DOTALL)
DEFAULT = '"$user", public'
MISSING = re.compile(r'(?:function [^.(]+\([^)]*\)|(?:relation|type|text search \w+) "[^".]+"|operator) does not exist')
"""Something that was named without its schema."""
ALWAYS_EMPTY = re.compile(r"CREATE (?:UNIQUE )?INDEX |REFRESH MATERIALIZED VIEW ")
"""What PostgreSQL runs with a search_path of its own, from 17 on."""
EMPTY = b"set_config('search_path', ''"


def statements_of(contents: toc.Toc) -> list[bytes]:
    """Those that set it as the archive is restored."""
    return [entry.sql for entry in contents.of_kind("SEARCHPATH")]


def may_help(contents: toc.Toc, error: DatabaseError, server: int) -> bool:
    """Whether a restore into major version `server` failed for an empty search_path, as far as one can tell."""
    if isinstance(error, TableError) and server >= 17 and ALWAYS_EMPTY.match(error.command):
        return False
    return MISSING.search(error.what) is not None and any(EMPTY in each for each in statements_of(contents))


def use(contents: toc.Toc) -> str:
    """Has the archive restored with its database's own search_path; returns a warning."""
    path = DEFAULT
    for entry in contents.of_kind("DATABASE PROPERTIES"):
        for statement in statements(contents.text(entry.sql)):
            if match := OWN.fullmatch(statement):
                path = match[1]
    set_ = f"SET search_path TO {path};\n".encode(toc.python_codec(contents.encoding), "surrogateescape")
    contents.entries = [
        replace(entry, definition=set_) if entry.kind == "SEARCHPATH" else entry for entry in contents.entries
    ]
    return (
        f"restored with search_path {path}, for functions in it do not name the schema of what they use: give them one "
        "(ALTER FUNCTION ... SET search_path)"
    )
