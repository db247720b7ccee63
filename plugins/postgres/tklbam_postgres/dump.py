"""Dumps a server: `pg_dump -Fd` reads each database in one snapshot, and while it writes, its files are cut."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tklbam_core.api import (
    CommandError,
    DatabaseError,
    DatabaseFailure,
    DatabaseResult,
    FormatError,
    Limits,
    Progress,
    ProgressEvent,
    TklbamError,
    atomic_write,
    run,
    start,
)

from . import catalogue, layout, leftout, public_schema, roles, selection, sqltext, toc
from .connect import Server, connect, one_line
from .cut import Rows, cut, is_complete
from .failures import TableError, failure_of
from .options import Options
from .pipes import Pipes, children, long_turns, standstill
from .programs import pattern

POLL = 20
"""Milliseconds between looks at what pg_dump has written."""
TOC_TRIES = 1000
BIG = 8 << 20
"""Bytes on the server's disk from which on a table comes through a pipe."""
ATTEMPTS = 3
PLAIN = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE"})
DEFAULT_COMMENT = b"IS 'default administrative connection database';\n"
TOO_MANY = re.compile(r"too many clients|connection slots are reserved|too many connections for")
"""One connection may still be had where there are not enough for several."""
PASSING = re.compile(
    r"could not obtain lock on relation|cache lookup failed|could not open relation with OID|concurrently"
    r'|relation "[^\n]*" does not exist'
)
"""What happens when somebody queues for a table exclusively, or drops what pg_dump has just found. A moment later all
is well again."""
FAILED_TABLE = re.compile(
    r'(?:contents of|policy for|lock on) (?:table|relation) "([^"]+)"'
    r"|LOCK TABLE (?:ONLY )?([^,]+?)(?:,.*)? IN ACCESS SHARE"
)


@dataclass(slots=True)
class ClusterDump:
    """What was dumped of one server; `index` is its part of pgfs.json."""

    index: dict[str, Any]
    results: list[DatabaseResult]
    failures: list[DatabaseFailure]
    warnings: list[str]


def dump_cluster(server: Server, base: Path, limits: Limits, options: Options, progress: Progress) -> ClusterDump:
    """Dumps what `limits` takes of one server below `base`. One database's failure leaves the others alone.

    Raises DatabaseError where the server's globals can't be read.
    """
    directory = base / server.cluster.directory
    directory.mkdir(parents=True, mode=0o700)
    dumped = ClusterDump({}, [], [], [])
    warnings = write_globals(server, directory / layout.GLOBALS)
    names = []
    for database in catalogue.databases(server):
        if not limits.takes_database(database.name):
            continue
        if not database.connectable:
            dumped.failures.append(DatabaseFailure(database=database.name, reason="it accepts no connections"))
            continue
        place = directory / layout.database_directory(database.name)
        try:
            result = dump_database(server, database.name, place, limits, options, progress)
        except (TklbamError, OSError) as error:
            shutil.rmtree(place, ignore_errors=True)
            if _is_gone(server, database):
                warnings.append(f"database {database.name} was dropped while the backup was made")
            else:
                dumped.failures.append(failure_of(database.name, error))
            continue
        if result is not None:
            dumped.results.append(result)
            names.append({"name": database.name, "directory": place.name})
    warnings += leftout.warnings(server)
    dumped.warnings = warnings
    dumped.index = {
        "name": server.cluster.name,
        "directory": directory.name,
        "server_version": server.version,
        "databases": names,
    }
    return dumped


def _is_gone(server: Server, database: catalogue.Database) -> bool:
    try:
        return database.oid not in {each.oid for each in catalogue.databases(server)}
    except DatabaseError:
        return False


def write_globals(server: Server, file: Path) -> list[str]:
    """Roles, memberships and tablespaces into `file`; returns warnings. Raises DatabaseError."""
    warnings = []
    argv = [*server.argv("pg_dumpall"), "--globals-only", "--encoding=UTF8"]
    argv.append(f"--dbname={server.target(server.maintenance)}")
    if not server.superuser:
        argv.append("--no-role-passwords")
        warnings.append(f"{server.user} is no superuser: the passwords of roles are not in the backup")
    with connect(server) as connection:
        everybody = roles.settings_of_all(connection)
    try:
        text = run(argv, env=server.environment(), secrets=server.secrets(), cwd=Path("/")).stdout
    except CommandError as error:
        raise DatabaseError(
            f"the roles of PostgreSQL cluster {server.cluster.name} can't be read: {one_line(error)}",
            "Connect as a superuser (database-option pgsql:user).",
        ) from error
    with atomic_write(file) as out:
        for statement in sqltext.statements(text.decode("utf-8", "surrogateescape")):
            out.write(statement.encode("utf-8", "surrogateescape") + b";\n")
        for statement in everybody:  # which pg_dumpall leaves out
            out.write(statement.encode("utf-8", "surrogateescape") + b";\n")
    return warnings


def users_entries(contents: toc.Toc) -> list[toc.Entry]:
    """The entries of database `postgres` that a new server does not have by itself."""
    return [
        entry
        for entry in contents.entries
        if entry.kind not in PLAIN and not (entry.kind == "COMMENT" and entry.sql.endswith(DEFAULT_COMMENT))
    ]


def dump_database(
    server: Server, name: str, directory: Path, limits: Limits, options: Options, progress: Progress
) -> DatabaseResult | None:
    """Dumps one database into `directory`, which is made. None: it is `postgres` and holds nothing of the user's.

    Raises DatabaseError and OSError; what is in `directory` then is of no use.
    """
    began = time.monotonic()
    with connect(server, name) as connection:
        every = catalogue.tables(connection)
        facts = {**catalogue.database_facts(connection), "public": public_schema.facts(connection)}
        subscriptions = [each for each, _ in catalogue.subscriptions(connection, name)]
    excluded = selection.without_rows(limits, name, every)
    unlogged = [table for table in every if server.standby and table.unlogged and table not in excluded]
    excluded += unlogged
    words: list[str | bytes] = [f"--lock-wait-timeout={options.lock_timeout}s", f"--encoding={facts['encoding']}"]
    words += [b"--exclude-table-data=" + pattern(table, facts["encoding"]) for table in excluded]
    big = {table.qualified for table in every if table.size >= BIG} if options.jobs > 1 else set()
    contents, rows = _read(server, name, directory, words, options.jobs, big, progress)
    if name == "postgres" and not users_entries(contents) and not _asked_for(limits, name):
        shutil.rmtree(directory)
        return None
    contents.created = toc.EPOCH
    _take_over(directory)
    toc.write(contents, directory / "toc.dat")
    layout.write_tables(directory / "tables.jsonl", rows, catalogue.ancestors(every))
    layout.write_json(
        directory / "database.json",
        {
            "name": name,
            **facts,
            "excluded": [table.qualified for table in excluded],
            "subscriptions": subscriptions,
        },
    )
    return DatabaseResult(
        name=name,
        tables=sum(entry.kind == "TABLE" for entry in contents.entries),
        rows=sum(each.count for *_, each in rows),
        size=sum(each.size for *_, each in rows),
        seconds=time.monotonic() - began,
        warnings=tuple(f"{table.qualified} is unlogged: its rows are not on a standby" for table in unlogged),
    )


def _asked_for(limits: Limits, name: str) -> bool:
    return any(rule.include and rule.database == name for rule in limits.rules)


def _read(
    server: Server, name: str, directory: Path, words: list[str | bytes], jobs: int, big: set[str], progress: Progress
) -> tuple[toc.Toc, list[tuple[str, str, str, Rows]]]:
    for attempt in range(1, ATTEMPTS + 1):
        _make_directory(directory, server)
        try:
            return _dump_and_cut(server, name, directory, words, jobs, big, progress)
        except CommandError as error:
            shutil.rmtree(directory)
            crowded = TOO_MANY.search(error.stderr) is not None and jobs > 1
            if attempt == ATTEMPTS or not (crowded or PASSING.search(error.stderr)):
                raise _explain(server, name, error) from error
            if crowded:
                jobs = 1
            else:
                time.sleep(attempt)
    raise AssertionError("unreachable")


def _dump_and_cut(
    server: Server, name: str, directory: Path, words: list[str | bytes], jobs: int, big: set[str], progress: Progress
) -> tuple[toc.Toc, list[tuple[str, str, str, Rows]]]:
    """Runs pg_dump; the rows of `big` tables (`schema.table`) are cut as they come, others when they are complete."""
    done: dict[str, Rows] = {}
    owners: dict[str, tuple[str, str]] = {}

    def store(file: str, rows: Rows) -> None:
        done[file] = rows
        size = sum(each.size for each in done.values())
        progress(ProgressEvent("pgsql dump", size, None, "bytes", f"{name}/{'.'.join(owners[file])}"))

    pipes = Pipes(store)

    def make_pipes(contents: toc.Toc) -> None:
        owners.update(_owners(contents))
        for file, (schema, table) in owners.items():
            if f"{schema}.{table}" in big:
                place = layout.table_directory(directory, schema, table)
                pipes.make(directory / file, place, directory.stat().st_uid)

    contents: toc.Toc | None = None

    def look(pid: int | None) -> None:
        nonlocal contents
        if contents is None:
            if pid is not None:
                pipes.watch(pid)
            contents = _await_toc(directory / "toc.dat", pid, make_pipes)
        if contents is None:
            pipes.read(1)
            return
        if not pipes.read(POLL) or pid is None:
            for path in _data_files(directory):
                if path.name in owners and path not in pipes and _is_complete(path):
                    store(path.name, cut(path, layout.table_directory(directory, *owners[path.name])))

    try:
        with long_turns():
            _run_pg_dump(server, name, directory, words, jobs, look)
        while pipes.read(0):
            pass
    finally:
        pipes.close()
    missing = [".".join(owner) for file, owner in owners.items() if file not in done]
    if contents is None or missing:
        what = f"no rows for {missing[0]} of {name}" if missing else f"no table of contents for {name}"
        raise DatabaseError(f"pg_dump wrote {what}", "Run the backup again.")
    return contents, [(*owner, file, done[file]) for file, owner in owners.items()]


def _await_toc(file: Path, pid: int | None, found: Callable[[toc.Toc], None]) -> toc.Toc | None:
    """Gives pg_dump's table of contents to `found`, as soon as it is there and before its workers write any row.

    None: not yet. pg_dump starts its workers, then writes the file, while they connect: they are stopped meanwhile.
    """
    with standstill() as halt:
        workers = children(pid) if pid is not None else []
        halt(workers)
        for _ in range(TOC_TRIES if workers else 1):
            contents = _read_toc(file)
            if contents is not None:
                if pid is not None:
                    halt(children(pid))
                found(contents)
                return contents
            time.sleep(0.001)
    return None


def _read_toc(file: Path) -> toc.Toc | None:
    """The table of contents; None while pg_dump has not written it to its end."""
    try:
        return toc.read(file)
    except (FormatError, FileNotFoundError):
        return None


def _is_complete(path: Path) -> bool:
    with open(path, "rb", buffering=0) as file:
        return is_complete(file.fileno())


def _owners(contents: toc.Toc) -> dict[str, tuple[str, str]]:
    """File name → schema, table, in the order of the archive."""
    return {
        (entry.filename or b"").decode("ascii"): (
            contents.text(entry.namespace),
            contents.text(entry.tag),
        )
        for entry in contents.of_kind("TABLE DATA")
        if entry.filename
    }


def _data_files(directory: Path) -> Iterator[Path]:
    for entry in os.scandir(directory):
        if entry.name[0].isdigit() and entry.name.endswith(".dat"):
            yield Path(entry.path)


def _run_pg_dump(
    server: Server, name: str, directory: Path, words: list[str | bytes], jobs: int, look: Callable[[int | None], None]
) -> None:
    """Runs pg_dump into `directory`; calls `look`, which waits a moment, with its process id while it runs, and once
    with None when it has ended well."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        argv = [
            *server.argv("pg_dump"),
            "--format=directory",
            "--compress=0",
            "--no-sync",
            f"--jobs={jobs}",
            # Through our descriptor: the server's account may not enter the directories above it.
            f"--file=/proc/self/fd/{descriptor}",
            *words,
            f"--dbname={server.target(name)}",
        ]
        environment, secrets = server.environment(), server.secrets()
        with start(argv, env=environment, secrets=secrets, cwd=Path("/"), pass_fds=(descriptor,)) as process:
            while _is_running(process.pid):
                look(process.pid)
    finally:
        os.close(descriptor)
    look(None)


def _is_running(pid: int) -> bool:
    """Whether our child still runs; its status is left for whoever waits for it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _make_directory(directory: Path, server: Server) -> None:
    directory.mkdir(mode=0o700)
    if server.account is not None:
        shutil.chown(directory, server.account)


def _take_over(directory: Path) -> None:
    """Makes ours what pg_dump wrote: the server's account has no more business with it."""
    for path in (directory, *(Path(entry.path) for entry in os.scandir(directory) if entry.is_file())):
        os.chown(path, os.geteuid(), os.getegid())
        path.chmod(0o700 if path is directory else 0o600)


def _explain(server: Server, name: str, error: CommandError) -> DatabaseError:
    """What pg_dump said, with the table where it names one."""
    lines = [line.removeprefix("pg_dump: ") for line in error.stderr.splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.startswith(("warning", "hint"))) or str(error)
    table = None
    match = FAILED_TABLE.search(text)
    if match:
        table = match[1] or match[2]
    if "LOCK TABLE" in text and "timeout" in text:
        with connect(server, name) as connection:
            locked = catalogue.exclusive_locks(connection)
        table = locked[0] if locked else table
        return TableError(
            "it is locked by another session, and that has not ended in time",
            table,
            "End that session, or have the backup wait longer: database-option pgsql:lock-timeout=SECONDS.",
        )
    if "conflict with recovery" in text:
        return TableError(
            one_line(text), table, "On the standby set hot_standby_feedback, or a longer max_standby_streaming_delay."
        )
    return TableError(one_line(text), table, "See the server's log.")
