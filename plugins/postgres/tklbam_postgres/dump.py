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
    Limits,
    Progress,
    ProgressEvent,
    TklbamError,
    atomic_write,
    run,
    start,
)

from . import catalogue, layout, selection, sqltext, toc
from .connect import ENVIRONMENT, Server, connect, one_line
from .cut import Rows, cut, is_complete
from .failures import TableError, failure_of
from .names import file_name, identifier
from .options import Options

POLL = 0.02
ATTEMPTS = 3
PLAIN = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE"})
DEFAULT_COMMENTS = (
    b"IS 'default administrative connection database';\n",
    b"IS 'default template for new databases';\n",
    b"IS 'unmodifiable empty database';\n",
)
FAILED_TABLE = re.compile(
    r'(?:contents of table|lock on relation) "([^"]+)"|LOCK TABLE (?:ONLY )?([^,]+?)(?:,.*)? IN ACCESS SHARE'
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
    warnings = write_globals(server, directory / "globals.sql")
    names = []
    for database in catalogue.databases(server):
        if not limits.takes_database(database.name):
            continue
        if not database.connectable:
            dumped.failures.append(DatabaseFailure(database=database.name, reason="it accepts no connections"))
            continue
        place = directory / file_name(database.name)
        try:
            result = dump_database(server, database.name, place, limits, options, progress)
        except (TklbamError, OSError) as error:
            shutil.rmtree(place, ignore_errors=True)
            dumped.failures.append(failure_of(database.name, error))
            continue
        if result is not None:
            dumped.results.append(result)
            names.append({"name": database.name, "directory": place.name})
    warnings += template_warnings(server, directory)
    dumped.warnings = warnings
    dumped.index = {
        "name": server.cluster.name,
        "directory": directory.name,
        "server_version": server.version,
        "databases": names,
    }
    return dumped


def write_globals(server: Server, file: Path) -> list[str]:
    """Roles, memberships and tablespaces into `file`; returns warnings. Raises DatabaseError."""
    warnings = []
    argv = [*server.argv("pg_dumpall"), "--globals-only", f"--dbname={server.target('postgres')}"]
    if not server.superuser:
        argv.append("--no-role-passwords")
        warnings.append(f"{server.user} is no superuser: the passwords of roles are not in the backup")
    try:
        text = run(argv, env=ENVIRONMENT, secrets=server.secrets(), cwd=Path("/")).stdout
    except CommandError as error:
        raise DatabaseError(
            f"the roles of PostgreSQL cluster {server.cluster.name} can't be read: {one_line(error)}",
            "Connect as a superuser (database-option pgsql:user).",
        ) from error
    with atomic_write(file) as out:
        for statement in sqltext.statements(text.decode("utf-8", "surrogateescape")):
            out.write(statement.encode("utf-8", "surrogateescape") + b";\n")
    return warnings


def template_warnings(server: Server, scratch: Path) -> list[str]:
    """Whether template1 was changed: that is not stored, for a restore could not put it into a newer server."""
    place = scratch / ".template1"
    try:
        _make_directory(place, server)
        _run_pg_dump(server, "template1", place, ["--schema-only"], 1, lambda: None)
        changed = users_entries(toc.read(place / "toc.dat"), "template1")
    except (TklbamError, OSError) as error:
        return [f"template1 can't be read, so changes in it are not known: {one_line(error)}"]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if not changed:
        return []
    return [f"template1 was changed ({changed[0]}{', …' if len(changed) > 1 else ''}): this is not in the backup"]


def users_entries(contents: toc.Toc, database: str) -> list[toc.Entry]:
    """The entries of an archive that a new server does not have by itself."""
    return [
        entry
        for entry in contents.entries
        if entry.kind not in PLAIN
        and not (entry.kind == "COMMENT" and entry.sql.endswith(DEFAULT_COMMENTS))
        and not (database == "template1" and entry.tag.endswith(b"template1"))
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
        facts = catalogue.database_facts(connection)
        subscriptions = [each for each, _ in catalogue.subscriptions(connection, name)]
    excluded = selection.without_rows(limits, name, every)
    words = [f"--lock-wait-timeout={options.lock_timeout}s"]
    words += [f"--exclude-table-data={identifier(table.schema)}.{identifier(table.name)}" for table in excluded]
    contents, rows = _read(server, name, directory, words, options, progress)
    if name == "postgres" and not users_entries(contents, name) and not _asked_for(limits, name):
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
    )


def _asked_for(limits: Limits, name: str) -> bool:
    return any(rule.include and rule.database == name for rule in limits.rules)


def _read(
    server: Server, name: str, directory: Path, words: list[str], options: Options, progress: Progress
) -> tuple[toc.Toc, list[tuple[str, str, str, Rows]]]:
    for attempt in range(1, ATTEMPTS + 1):
        _make_directory(directory, server)
        try:
            return _dump_and_cut(server, name, directory, words, options.jobs, progress)
        except CommandError as error:
            shutil.rmtree(directory)
            # A worker gives up at once on a table that somebody has queued for exclusively: a moment later it is free.
            if "could not obtain lock on relation" not in error.stderr or attempt == ATTEMPTS:
                raise _explain(server, name, error) from error
            time.sleep(attempt)
    raise AssertionError("unreachable")


def _dump_and_cut(
    server: Server, name: str, directory: Path, words: list[str], jobs: int, progress: Progress
) -> tuple[toc.Toc, list[tuple[str, str, str, Rows]]]:
    """Cuts each data file once pg_dump has finished it, so that at most one table is on disk twice."""
    done: dict[str, Rows] = {}
    owners: dict[str, tuple[str, str]] = {}

    def look() -> None:
        for file in _finished(directory):
            if not owners:
                # pg_dump writes its table of contents before the first row.
                owners.update(_owners(toc.read(directory / "toc.dat")))
            schema, table = owners[file.name]
            done[file.name] = cut(file, layout.table_directory(directory, schema, table))
            size = sum(rows.size for rows in done.values())
            progress(ProgressEvent("pgsql dump", size, None, "bytes", f"{name}/{schema}.{table}"))

    _run_pg_dump(server, name, directory, words, jobs, look)
    contents = toc.read(directory / "toc.dat")
    missing = [str(owner) for file, owner in _owners(contents).items() if file not in done]
    if missing:
        raise DatabaseError(f"pg_dump wrote no rows for {missing[0]} of {name}", "Run the backup again.")
    return contents, [(*owner, file, done[file]) for file, owner in _owners(contents).items()]


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


def _finished(directory: Path) -> Iterator[Path]:
    for entry in os.scandir(directory):
        if entry.name[0].isdigit() and entry.name.endswith(".dat"):
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                complete = is_complete(descriptor)
            finally:
                os.close(descriptor)
            if complete:
                yield Path(entry.path)


def _run_pg_dump(
    server: Server, name: str, directory: Path, words: list[str], jobs: int, look: Callable[[], None]
) -> None:
    """Runs pg_dump into `directory`; calls `look` now and then while it runs, and once when it has ended well."""
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
        with start(argv, env=ENVIRONMENT, secrets=server.secrets(), cwd=Path("/"), pass_fds=(descriptor,)) as process:
            while _is_running(process.pid):
                look()
                time.sleep(POLL)
    finally:
        os.close(descriptor)
    look()


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
    return TableError(one_line(text), table, "See the server's log.")
