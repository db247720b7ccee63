"""On restore with limits on tables: those that are left out and exist stay as they are.

The database is loaded beside, so "as they are" means: their rows are copied from the old database into the new one, and
a table that the backup does not know is taken over whole. Writers to them wait meanwhile.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tklbam_core.api import CommandError, Limits, start

from . import catalogue, selection
from .catalogue import Table
from .connect import Server, connect, one_line
from .failures import TableError
from .names import identifier
from .programs import pattern, pg_restore

if TYPE_CHECKING:
    import psycopg

LOCK_TIMEOUT = "60s"


class Kept:
    """Tables of the old database that the restore leaves as they are; its session holds the locks."""

    def __init__(self, server: Server, database: str, old: psycopg.Connection[Any], tables: list[Table]) -> None:
        self._server = server
        self._database = database
        self._old = old
        self._tables = tables
        self._missing: list[Table] = []

    def copy_rows(self, new: str, search_path: Iterable[bytes]) -> int:
        """Copies the rows of those tables that `new` has; returns how many. Raises TableError.

        `search_path` are statements that set it as for the rows of the backup.
        """
        copied = 0
        self._missing = []
        with connect(self._server, new) as target:
            for statement in search_path:
                target.execute(statement)
            there = {(table.schema, table.name) for table in catalogue.tables(target)}
            for table in self._tables:
                if (table.schema, table.name) not in there:
                    self._missing.append(table)
                elif table.kind == "r":
                    copied += self._copy(table, target)
        return copied

    def _copy(self, table: Table, target: psycopg.Connection[Any]) -> int:
        import psycopg

        name = f"{identifier(table.schema)}.{identifier(table.name)}"
        here, there = _columns(self._old, table), _columns(target, table)
        if sorted(here) != sorted(there):
            raise TableError(
                "a limit leaves it out, but its columns here are not those of the backup: it can't stay as it is",
                table.qualified,
            )
        columns = ", ".join(identifier(column) for column, _, computed in here if not computed)
        words = f"{name} ({columns})".encode() if columns else name.encode()
        try:
            target.execute(f"DELETE FROM ONLY {name}".encode())  # an extension's table comes with rows
            with self._old.cursor() as source, target.cursor() as sink:
                with source.copy(b"COPY " + words + b" TO STDOUT") as rows:
                    with sink.copy(b"COPY " + words + b" FROM STDIN") as copy:
                        for chunk in rows:
                            copy.write(chunk)
                return sink.rowcount
        except psycopg.Error as error:
            raise TableError(one_line(error), table.qualified) from error

    def carry_sequences(self, new: str) -> None:
        """Sequences that belong to those tables go on where they are, lest they give out a number twice."""
        with connect(self._server, new) as target:
            for table in self._tables:
                name = f"{identifier(table.schema)}.{identifier(table.name)}"
                owned = self._old.execute(
                    "SELECT DISTINCT d.objid::regclass::text FROM pg_depend d JOIN pg_class s ON s.oid = d.objid"
                    " WHERE d.refobjid = %s::regclass AND d.classid = 'pg_class'::regclass AND s.relkind = 'S'"
                    " AND d.deptype IN ('a', 'i')",
                    (name,),
                ).fetchall()
                for (sequence,) in owned:
                    last, called = self._old.execute(
                        f"SELECT last_value, is_called FROM {sequence}".encode()
                    ).fetchall()[0]
                    if target.execute("SELECT to_regclass(%s)", (sequence,)).fetchall()[0][0] is not None:
                        target.execute("SELECT setval(%s::regclass, %s, %s)", (sequence, last, called))

    def take_over(self, new: str) -> None:
        """Copies tables that the backup does not know into `new`, whole. Raises TableError."""
        if not self._missing:
            return
        dump: list[str | bytes] = [*self._server.argv("pg_dump"), "--format=custom", "--compress=0"]
        encoding = catalogue.database_facts(self._old)["encoding"]
        dump.append(f"--encoding={encoding}")
        dump += [b"--table=" + pattern(table, encoding) for table in self._missing]
        dump.append(f"--dbname={self._server.target(self._database)}")
        common: dict[str, Any] = {"env": self._server.environment(), "secrets": self._server.secrets()}
        try:
            with start(dump, stdout=subprocess.PIPE, cwd=Path("/"), **common) as source:
                with pg_restore(self._server, new, ["--format=custom"], stdin=source.stdout):
                    # Only the reader may hold the pipe: when it ends early, the writer has to see it.
                    source.stdout.close()
        except (CommandError, TableError) as error:
            said = error.stderr if isinstance(error, CommandError) else error.what
            raise TableError(
                f"it is not in the backup, and it can't be taken over as it is: {one_line(said)}",
                ", ".join(table.qualified for table in self._missing),
            ) from error


def _columns(connection: psycopg.Connection[Any], table: Table) -> list[tuple[str, str, bool]]:
    """Name, type, whether it is computed (generated), in order."""
    return connection.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (table.schema, table.name),
    ).fetchall()


@contextlib.contextmanager
def keeping(server: Server, database: str, exists: bool, limits: Limits) -> Iterator[Kept | None]:
    """Finds and locks the tables to keep; None where there are none. Raises TableError where one can't be locked."""
    import psycopg

    if not exists or not any(rule.table is not None for rule in limits.rules):
        yield None
        return
    with connect(server, database, row_security="off", lock_timeout=LOCK_TIMEOUT) as old:
        tables = selection.without_rows(limits, database, catalogue.tables(old))
        tables = [table for table in tables if table.kind in ("r", "p")]
        if not tables:
            yield None
            return
        old.execute("BEGIN")
        for table in tables:
            try:
                old.execute(f"LOCK TABLE {identifier(table.schema)}.{identifier(table.name)} IN SHARE MODE".encode())
            except psycopg.Error as error:
                raise TableError(one_line(error), table.qualified) from error
        yield Kept(server, database, old, tables)
