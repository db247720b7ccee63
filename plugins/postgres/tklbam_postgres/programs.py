"""How PostgreSQL's programs are told what to do, and what they say is understood.

The first failure of pg_restore ends a restore, but for one that is its own where it is newer than the server.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tklbam_core.api import CommandError, start

from . import toc
from .catalogue import Table
from .connect import Server, find_program, one_line
from .failures import TableError
from .names import identifier
from .sqltext import IDENTIFIER

COMMAND_TABLE = re.compile(rf"(?:TABLE (?:ONLY )?|INDEX .* ON (?:ONLY )?|VIEW )({IDENTIFIER})")
CREATED = re.compile(rf"Command was: CREATE (?:OR REPLACE )?([A-Z ]+ {IDENTIFIER}(?:\([^)\n]*\))?)")
"""No more of it: what follows a name may be a password."""
LOCALE_REMEDY = "Make it (locale-gen) and restart PostgreSQL, then run the restore again."
UNKNOWN_SETTING = re.compile(
    r'pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"\n'
    r"(?:pg_restore: )?Command was: SET transaction_timeout = 0;\n*"
)
"""What pg_restore sets from 17 on, whatever the server's version; once a connection."""


def pattern(table: Table, encoding: str) -> bytes:
    """The name of one table as pg_dump's arguments want it: in the encoding of its session."""
    name = f"{identifier(table.schema)}.{identifier(table.name)}"
    return name.encode(toc.python_codec(encoding), "surrogateescape")


@contextlib.contextmanager
def pg_restore(
    server: Server, database: str, words: Sequence[str], *archive: str, stdin: IO[bytes] | None = None
) -> Iterator[None]:
    """Runs pg_restore into `database` beside the block, which feeds `stdin`, and waits for its end.

    Raises TableError with the object that could not be restored.
    """
    lenient = is_strange(server)
    argv = [*server.argv("pg_restore"), *words, f"--dbname={server.target(database)}", *archive]
    if not lenient:
        argv.insert(-1, "--exit-on-error")
    try:
        # What is not flushed at once is, when the database is put in its place.
        environment = server.environment("synchronous_commit=off")
        with start(argv, env=environment, secrets=server.secrets(), cwd=Path("/"), stdin=stdin):
            yield
    except CommandError as error:
        if not (lenient and _is_harmless(error.stderr)):
            raise _explain(error) from error


def is_strange(server: Server) -> bool:
    """Whether pg_restore sets what the server does not know. With one job alone can that be told from other failures:
    several write over each other."""
    return find_program("pg_restore", server.major)[1] >= 17 > server.major


def _is_harmless(said: str) -> bool:
    """Whether all that went wrong is one setting that the server does not know."""
    errors = sum(line.startswith("pg_restore: error: ") for line in said.splitlines())
    return "errors ignored on restore: " in said and len(UNKNOWN_SETTING.findall(said)) == errors


def _explain(error: CommandError) -> TableError:
    """What pg_restore said, by the object that it was at."""
    text = UNKNOWN_SETTING.sub("", error.stderr)
    lines = [line.removeprefix("pg_restore: ") for line in text.splitlines() if line.strip()]
    # "from TOC entry 3; 1259 16384 TABLE public a postgres": kind, schema, name, owner after the two ids. Its parallel
    # workers don't say it, but the command does.
    subject = next((line.split(";", 1)[1].split() for line in lines if line.startswith("from TOC entry")), [])
    said = [line for line in lines if not line.startswith(("from TOC entry", "while ", "warning", "hint"))]
    command = next((number for number, line in enumerate(said) if line.startswith("Command was:")), len(said))
    reason = one_line(" ".join(said[: command or 1])).removeprefix("error: could not execute query: ") or str(error)
    statement = one_line(" ".join(said[command:]))
    match, made = COMMAND_TABLE.search(statement), CREATED.match(statement)
    where = match[1] if match else " ".join(subject[2:-1]) or (made[1] if made else None)
    remedy = LOCALE_REMEDY if "could not create locale" in reason else ""
    return TableError(reason, where, remedy, statement.removeprefix("Command was: "))
