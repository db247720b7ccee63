"""Restoring: each database is checked, then takes the old one's place in one transaction; and going back."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from tklbam_core.api import (
    DatabaseError,
    DatabaseFailure,
    DatabaseReport,
    DatabaseResult,
    Limits,
    ProgressEvent,
    RestoreRequest,
    RollbackRequest,
    sync_directory,
)

from .store import (
    DIRECTORY,
    ENGINE,
    Stored,
    copy_database,
    file_name,
    inside,
    opened,
    quoted,
    read_notes,
    tables_of,
    write_note,
)

SIDE_FILES = ("-wal", "-shm", "-journal")


def restore(request: RestoreRequest) -> DatabaseReport | None:
    """None: the backup has no `sqlitefs`."""
    directory = request.extras / DIRECTORY
    if not directory.is_dir():
        return None
    results, failures = [], []
    taken = [stored for stored in read_notes(directory) if request.limits.takes_database(stored.name)]
    for number, stored in enumerate(taken):
        request.progress(ProgressEvent("sqlite restore", number, len(taken), "databases", stored.name))
        try:
            results.append(restore_one(request, stored))
        except (DatabaseError, OSError) as error:
            failures.append(DatabaseFailure(database=stored.name, reason=str(error).splitlines()[0]))
    return DatabaseReport(
        engine=ENGINE,
        directory=DIRECTORY,
        server=f"{len(taken)} files",
        databases=tuple(results),
        failures=tuple(failures),
        warnings=tuple(f"the limit {rule.worded(ENGINE)} matches nothing" for rule in request.limits.unmatched()),
    )


def restore_one(request: RestoreRequest, stored: Stored) -> DatabaseResult:
    began = time.monotonic()
    place = inside(request.root, stored.path)
    tables = check(stored)
    left = [table for table in tables if not request.limits.takes_table(stored.name, table)]
    if not request.simulate:
        if request.rollback is not None:
            save(request.rollback, stored, place)
        if left:
            with_tables_left(request.limits, stored, place, left)
        put(stored.copy, place)
    return DatabaseResult(
        name=stored.name,
        tables=len(tables),
        rows=sum(rows for table, rows in tables.items() if table not in left),
        size=stored.copy.stat().st_size,
        seconds=time.monotonic() - began,
    )


def check(stored: Stored) -> dict[str, int]:
    """The tables of a dump; raises DatabaseError where it is damaged or not what was noted when it was made."""
    with opened(stored.copy) as connection:
        verdict = connection.execute("pragma quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise DatabaseError(f"{stored.name}: the dump is damaged: {verdict}", "Restore an earlier session.")
        tables = tables_of(connection)
    if tables != dict(stored.tables):
        raise DatabaseError(f"{stored.name}: the dump has other rows than were noted", "Restore an earlier session.")
    return tables


def with_tables_left(limits: Limits, stored: Stored, place: Path, left: list[str]) -> None:
    """Changes the fetched copy so that excluded tables hold what they hold here, or nothing."""
    with opened(stored.copy, write=True) as connection:
        connection.execute("pragma foreign_keys = off")
        here: dict[str, int] = {}
        if place.exists():
            connection.execute("attach database ? as here", (os.fsdecode(place),))
            names = connection.execute("select name from here.sqlite_master where type = 'table'").fetchall()
            here = {row[0]: 1 for row in names}
        connection.execute("begin")
        for table in left:
            connection.execute(f"delete from main.{quoted(table)}")
            if table in here:
                connection.execute(f"insert into main.{quoted(table)} select * from here.{quoted(table)}")
        connection.execute("commit")


def put(copy: Path, place: Path) -> None:
    """An existing database is overwritten in a transaction; a new one, or one that can't be read, comes beside and is
    renamed, with its folder's owner."""
    if place.exists():
        try:
            with opened(place) as connection:
                connection.execute("select count(*) from sqlite_master").fetchone()
            copy_database(copy, place)
            return
        except DatabaseError:
            owner = place.stat()
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        owner = place.parent.stat()
    beside = place.with_name(f".{secrets.token_hex(6)}")
    try:
        copy_database(copy, beside)
        beside.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(beside, owner.st_uid, owner.st_gid)
        for suffix in SIDE_FILES:
            Path(f"{place}{suffix}").unlink(missing_ok=True)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(place.parent)


def save(rollback: Path, stored: Stored, place: Path) -> None:
    """Keeps the database that is here, or that there is none, before it is replaced."""
    copy = rollback / f"{file_name(stored.name)}.sqlite"
    tables: dict[str, int] = {}
    if place.exists():
        copy_database(place, copy)
        with opened(copy) as connection:
            tables = tables_of(connection)
    write_note(rollback, Stored(name=stored.name, path=stored.path, copy=copy, tables=tables))


def roll_back(request: RollbackRequest) -> DatabaseReport | None:
    """None: nothing was saved. What has no saved copy was not there, and goes."""
    results, failures = [], []
    saved = list(read_notes(request.rollback))
    if not saved:
        return None
    for stored in saved:
        began = time.monotonic()
        try:
            place = inside(request.root, stored.path)
            if stored.copy.exists():
                put(stored.copy, place)
            else:
                for path in (place, *(Path(f"{place}{suffix}") for suffix in SIDE_FILES)):
                    path.unlink(missing_ok=True)
        except (DatabaseError, OSError) as error:
            failures.append(DatabaseFailure(database=stored.name, reason=str(error).splitlines()[0]))
            continue
        results.append(
            DatabaseResult(
                name=stored.name,
                tables=len(stored.tables),
                rows=sum(stored.tables.values()),
                size=stored.copy.stat().st_size if stored.copy.exists() else 0,
                seconds=time.monotonic() - began,
            )
        )
    return DatabaseReport(
        engine=ENGINE,
        directory=DIRECTORY,
        server=f"{len(saved)} files",
        databases=tuple(results),
        failures=tuple(failures),
    )
