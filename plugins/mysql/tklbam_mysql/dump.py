"""A server's databases into `myfs/`: definitions from the catalogue, rows in one snapshot, accounts as statements."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tklbam_core.api import DatabaseError, DatabaseFailure, DatabaseReport, DatabaseResult, Limits, SpaceError
from tklbam_core.api.progress import Progress

from . import exact, layout
from .accounts import read_accounts, second_passwords
from .catalogue import Database, Reader, Table, database_names, transactional_engines, unsafe_charsets
from .connection import Error, Server, Session, connect, dump_client, reason
from .cut import RowsWriter
from .jobs import Job
from .layout import Layout, TableFile
from .locks import bound_waits
from .names import UNCODED, literal, qualified, quote
from .rows import RowReader
from .settings import DumpOptions
from .snapshot import how_many_programs

LOCKED_AT_MOST = 256 << 20
"""Bytes of tables without a snapshot in one database that are locked while read; more would hold up writers."""


@dataclass(slots=True)
class Dump:
    """One dump in the making."""

    server: Server
    layout: Layout
    limits: Limits
    databases: list[Database] = field(default_factory=list)
    failures: list[DatabaseFailure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    client: str = ""


def dump_databases(
    server: Server, directory: Path, limits: Limits, *, how: DumpOptions, progress: Progress
) -> DatabaseReport:
    """Dumps what `limits` take into `directory` (made here).

    Raises DatabaseError when the server can't be read at all.
    """
    dump = Dump(server, Layout(directory), limits)
    try:
        with connect(server.settings) as session:
            bound_waits(session, how.lock_timeout)
            _read_definitions(dump, session, how.lock_timeout)
            engines = transactional_engines(session)
            charsets = {c.charset for d in dump.databases for t in d.tables for c in t.columns if c.charset}
            unsafe = unsafe_charsets(session, charsets)
            programs = how_many_programs(server, session, how.jobs)
            dump.layout.begin()
            if limits.takes_database("mysql"):
                _dump_accounts(dump, session)
                _name_loadable_functions(dump, session)
    except Error as error:
        raise DatabaseError(
            f"{server} can't be read: {reason(error)}", "Give an account that may read everything."
        ) from error
    for database in dump.databases:
        for table in database.tables:
            limits.takes_table(database.name, table.name)
    dump.warnings += [f"limit {rule.worded('mysql')} matches no database or table" for rule in limits.unmatched()]
    for database in dump.databases:
        _write_definitions(dump.layout, database)
    jobs, seconds = _dump_rows(dump, engines, unsafe, programs, how, progress)
    infos = _describe_tables(dump, jobs, unsafe)
    _write_manifest(dump, infos)
    return _report(dump, infos, seconds)


def _read_definitions(dump: Dump, session: Session, lock_timeout: int) -> None:
    reader = Reader(session, dump.server.is_mariadb, lock_timeout)
    for name in database_names(session):
        if dump.limits.takes_database(name):
            database = reader.read(name)
            if database is not None:
                dump.databases.append(database)
                uncoded = [f"database {name}"] if name.startswith(UNCODED) else []
                uncoded += [f"table {table.label}" for table in database.tables if table.name.startswith(UNCODED)]
                dump.warnings += [
                    f"{each} can be restored nowhere: no server takes this name; rename it first "
                    "(mariadb-check --fix-db-names --fix-table-names), or delete its files if nobody knows them"
                    for each in uncoded
                ]
    dump.failures += reader.failures
    dump.warnings += reader.warnings


def _dump_accounts(dump: Dump, session: Session) -> None:
    try:
        entries, failures = read_accounts(session, dump.server)
        seconds = second_passwords(session, dump.server)
    except Error as error:
        failures = [DatabaseFailure(database="mysql", reason=f"accounts can't be read: {reason(error)}")]
    else:
        layout.write_accounts(dump.layout.directory / layout.ACCOUNTS, entries)
        dump.warnings += [
            f"account {name}: its second password (RETAIN CURRENT) is not in the backup" for name in seconds
        ]
    dump.failures += failures


def _name_loadable_functions(dump: Dump, session: Session) -> None:
    """Functions out of shared libraries stay the server's own: a restore must not make a server load machine code."""
    try:
        functions = session.texts("SELECT name, type, dl FROM mysql.func ORDER BY name")
    except Error as error:
        dump.warnings.append(f"functions out of libraries can't be listed, and are not in the backup: {reason(error)}")
        return
    for name, kind, library in functions:
        aggregate = "AGGREGATE " if kind == "aggregate" else ""
        dump.warnings.append(
            f"function {name} of the library {library} is not in the backup: on the new server, install the library "
            f"and run CREATE {aggregate}FUNCTION {quote(str(name))} RETURNS … SONAME {literal(str(library))}"
        )


def _write_definitions(target: Layout, database: Database) -> None:
    directory = target.database(database.name)
    layout.write_text(directory / "init", database.statement)
    layout.write_stored(directory / "sequences", database.sequences)
    layout.write_stored(directory / "routines", database.routines)
    layout.write_stored(directory / "events", database.events)
    for table in database.tables:
        place = target.table(database.name, table.name)
        layout.write_text(place / "init", table.statement)
        layout.write_stored(place / "triggers", table.triggers)
    for view in database.views:
        layout.write_stored(target.view(database.name, view.name), [view])


def _dump_rows(
    dump: Dump,
    engines: frozenset[str],
    unsafe: frozenset[str],
    programs: int,
    how: DumpOptions,
    progress: Progress,
) -> tuple[dict[str, Job], dict[str, float]]:
    """Returns what was read, by table, and the seconds that took, by database."""
    taken = [
        table
        for database in dump.databases
        for table in database.tables
        if dump.limits.takes_table(database.name, table.name) and not table.external
    ]
    jobs = {table.label: Job(table, RowsWriter(_rows_place(dump.layout, table), key_columns(table))) for table in taken}
    steady = [job for job in jobs.values() if job.table.engine.lower() in engines]
    others = [job for job in jobs.values() if job.table.engine.lower() not in engines]
    client = dump_client(dump.server)
    dump.client = str(client)
    reader = RowReader(
        dump.server, client, unsafe, programs, how.lock_timeout, progress, sum(table.size for table in taken)
    )
    try:
        reader.read(steady, others, _lock_decision(dump, others, how.lock_tables))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SpaceError(
            f"{dump.layout.directory}: {error.strerror} while {reader.at} was being dumped",
            "Make room, or name a larger place for the dumps with extras-dir.",
        ) from error
    finally:
        for job in jobs.values():
            job.writer.close()
    dump.warnings += reader.problems
    why = "its history is kept by transaction ids"
    dump.warnings += [
        f"{table.label}: only the current rows are in the dump, not the past ones ({why})"
        for table in taken
        if table.transaction_precise
    ]
    for job in jobs.values():
        if job.failed:
            dump.failures.append(DatabaseFailure(database=job.table.database, table=job.table.name, reason=job.failed))
    return jobs, reader.clock


def _rows_place(target: Layout, table: Table) -> Path:
    return target.table(table.database, table.name) / "rows"


def key_columns(table: Table) -> int:
    """How many leading columns are the primary key, 0 where the key is not the row's start.

    Columns that the server computes are not in every dump program's rows.
    """
    leading = [column.name for column in table.columns[: len(table.key)] if not column.generated]
    return len(leading) if leading and leading == table.key else 0


def _lock_decision(dump: Dump, jobs: list[Job], lock_tables: str) -> Callable[[str], bool]:
    locked = {}
    for database in sorted({job.table.database for job in jobs}):
        group = [job for job in jobs if job.table.database == database]
        size = sum(job.table.size for job in group)
        locked[database] = lock_tables == "yes" or (lock_tables != "no" and size <= LOCKED_AT_MOST)
        if not locked[database]:
            names = ", ".join(sorted(job.table.name for job in group))
            dump.warnings.append(
                f"{database}: {names} have no snapshot ({group[0].table.engine}) and were read while in use, so they "
                "may be inconsistent; database-option mysql:lock-tables=yes locks them"
            )
    return lambda database: locked[database]


def _describe_tables(dump: Dump, jobs: dict[str, Job], unsafe: frozenset[str]) -> dict[str, dict[str, TableFile]]:
    infos: dict[str, dict[str, TableFile]] = {}
    checksums = _live_checksums(dump, [job.table for job in jobs.values()])
    for database in dump.databases:
        infos[database.name] = {}
        for table in database.tables:
            job = jobs.get(table.label)
            info = describe(table, unsafe)
            info.data = "external" if table.external else "rows" if job else "none"
            if job:
                info.columns = job.writer.columns or info.columns
                info.rows, info.files, info.failed = job.writer.rows, job.writer.files, job.failed
                info.checksum = checksums.get(table.label)
            layout.write_table(dump.layout.table(database.name, table.name) / "table.json", info)
            infos[database.name][table.name] = info
    return infos


def describe(table: Table, unsafe: frozenset[str]) -> TableFile:
    """How rows of this table print, without the rows."""
    past = table.has_history
    names = [column.name for column in table.columns]
    return TableFile(
        engine=table.engine,
        columns=[*names, "row_start", "row_end"] if past and not table.period else names,
        generated=[c.name for c in table.columns if c.generated and not (past and c.name in table.period)],
        hex=exact.hex_columns(table, unsafe),
        json=[column.name for column in table.columns if column.type == "json"],
        versioned=past,
    )


def _live_checksums(dump: Dump, tables: list[Table]) -> dict[str, int]:
    """Checksums that the server keeps anyway (tables made with CHECKSUM=1)."""
    live = [table for table in tables if "CHECKSUM=1" in table.statement.rsplit("\n)", 1)[-1]]
    found = {}
    if live:
        with connect(dump.server.settings) as session:
            for table in live:
                value = session.value_at(f"CHECKSUM TABLE {qualified(table.database, table.name)} QUICK", 1)
                if value is not None:
                    found[table.label] = int(value)
    return found


def _write_manifest(dump: Dump, infos: dict[str, dict[str, TableFile]]) -> None:
    dump.layout.finish(
        {
            "flavour": dump.server.flavour,
            "server": str(dump.server).split(" at ", 1)[0],
            "server_version": dump.server.full_version,
            "client": dump.client,
            "databases": {
                name: {"tables": {table: info.rows for table, info in tables.items()}} for name, tables in infos.items()
            },
        },
    )


def _report(dump: Dump, infos: dict[str, dict[str, TableFile]], seconds: dict[str, float]) -> DatabaseReport:
    results = []
    for database in dump.databases:
        tables = infos[database.name]
        results.append(
            DatabaseResult(
                name=database.name,
                tables=len(database.tables),
                rows=sum(info.rows or 0 for info in tables.values()),
                size=sum(size for info in tables.values() for _, _, size in info.files),
                seconds=round(seconds.get(database.name, 0.0), 3),
            )
        )
    return DatabaseReport(
        engine="mysql",
        directory=layout.DIRECTORY,
        server=str(dump.server),
        databases=tuple(results),
        failures=tuple(dump.failures),
        warnings=tuple(dump.warnings),
    )
