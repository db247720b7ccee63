"""SQL as pg_dump prints it: cut into statements, and read just enough to know whom a statement is about."""

from __future__ import annotations

import re
from collections.abc import Iterator

TOKEN = re.compile(
    r"""
      (?P<skip>\s+|--[^\n]*)
    | (?P<restrict>^\\(?:un)?restrict[^\n]*)
    | (?P<end>;)
    | [Ee]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | (?P<quoted>"(?:[^"]|"")*")
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | (?P<word>[\w$]+)
    | .
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
IDENTIFIER = r'(?:"(?:[^"]|"")*"|[^\s";,()])+'
"""A name as pg_dump prints it, qualified or not."""


def statements(text: str) -> Iterator[str]:
    """The statements of a script, without comments between them and without the closing semicolon.

    psql's `\\restrict` lines, which hold a random token, are left out.
    """
    start: int | None = None
    for match in TOKEN.finditer(text):
        if match["end"] is not None:
            if start is not None:
                yield text[start : match.start()].rstrip()
            start = None
        elif match["skip"] is None and match["restrict"] is None and start is None:
            start = match.start()
    if start is not None:
        yield text[start:].rstrip()


def unquote(identifier: str) -> str:
    """The name that an SQL identifier stands for, as pg_dump prints it."""
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def rename_database(statement: str, name: str, replacement: str) -> str:
    """The statement with the first `name` after a word DATABASE changed to `replacement` (quoted).

    Raises ValueError where it is not about database `name`.
    """
    after_keyword = False
    for match in TOKEN.finditer(statement):
        if match["skip"] is not None:
            continue
        # A role may be called database, too, and is not quoted.
        if after_keyword and unquote(match.group()) == name and match["word"] != "IN":
            return statement[: match.start()] + replacement + statement[match.end() :]
        after_keyword = (match["word"] or "").upper() == "DATABASE"
    raise ValueError(f"not about database {name}: {statement}")
