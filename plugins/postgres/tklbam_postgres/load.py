"""Loads one dumped database into an empty one: schema by pg_restore, rows by COPY on several connections at once,
then indexes, constraints and the rest by pg_restore."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tklbam_core.api import DatabaseError, FormatError, Progress, ProgressEvent

from . import public_schema, search_path, toc, without
from .apart import is_apart
from .connect import Server, connect, find_program, one_line, open_connection
from .failures import TableError
from .layout import StoredDatabase, StoredTable
from .programs import is_strange, pg_restore

if TYPE_CHECKING:
    import psycopg

CHUNK = 256 << 10
FROM_STDIN = re.compile(rb"FROM stdin(?=;\s*$)")
OBJECTS_AT_ONCE = 500
ROWS_ELSEWHERE = ("TABLE DATA", "BLOBS")
FIRST_WITH_OBJECTS = (1, 12)
"""Archives before this one do not list large objects one by one: their data entry makes them."""


def load(
    server: Server,
    stored: StoredDatabase,
    database: str,
    jobs: int,
    wanted: Callable[[StoredTable], bool],
    between: Callable[[], int],
    progress: Progress,
) -> int:
    """Loads `stored` into `database`, which exists and is empty; returns the number of rows loaded.

    Tables that are not `wanted` stay empty. `between` is called when all rows are in and nothing is indexed yet; it
    returns how many rows it has put in. Raises DatabaseError, with the table where it is known (TableError).
    """
    with _archive(server, stored.toc, lambda entry: not _of_event_trigger(entry)) as archive:

        def restore(*words: str) -> None:
            _restore_archive(server, stored, database, archive, *words)

        restore("--section=pre-data")
        rows, jobs = _load_rows(server, stored, database, jobs, wanted, progress)
        rows += between()
        sections = ["--section=data", "--section=post-data", f"--jobs={1 if is_strange(server) else jobs}"]
        if any(entry.filename for entry in stored.toc.of_kind("BLOBS")):
            # Which section makes the objects depends on pg_dump: before 17 the first, since then this one.
            restore(sections[0])
            _load_large_objects(server, stored, database)
            del sections[0]
        restore(*sections)
    return rows


def load_event_triggers(server: Server, stored: StoredDatabase, database: str) -> None:
    """Last of all: they act on whatever is made after them. Raises DatabaseError."""
    if stored.toc.of_kind("EVENT TRIGGER"):
        with _archive(server, stored.toc, _of_event_trigger) as archive:
            _restore_archive(server, stored, database, archive)


def _of_event_trigger(entry: toc.Entry) -> bool:
    return entry.kind == "EVENT TRIGGER" or entry.tag.startswith(b"EVENT TRIGGER ")


def _restore_archive(server: Server, stored: StoredDatabase, database: str, archive: Path, *words: str) -> None:
    words = ("--format=directory", f"--use-list={archive / 'list'}", *words)
    try:
        with pg_restore(server, database, words, str(archive)):
            pass
    except TableError as error:
        if error.remedy:
            raise
        remedy = without.hint(stored.toc, _entry(stored.toc, error.command))
        raise TableError(error.what, error.table, remedy, error.command) from error


def _entry(contents: toc.Toc, command: str) -> toc.Entry | None:
    """The entry whose statement is the beginning of what was run, read as what pg_restore says is read."""
    found = [
        entry
        for entry in contents.entries
        if entry.sql and command.startswith(one_line(entry.sql.decode("utf-8", "replace")))
    ]
    return max(found, key=lambda entry: len(entry.sql), default=None)


@contextlib.contextmanager
def _archive(server: Server, contents: toc.Toc, takes: Callable[[toc.Entry], bool]) -> Iterator[Path]:
    """What pg_restore, whoever it runs as, can read: the table of contents and a list of what to restore."""
    directory = Path(tempfile.mkdtemp(prefix="tklbam-pgsql-"))
    try:
        contents = toc.readable_by(contents, find_program("pg_restore", server.major)[1], server.major)
        toc.write(contents, directory / "toc.dat")
        made = contents.ids()
        listed = [
            entry
            for entry in contents.entries
            if entry.kind not in ROWS_ELSEWHERE
            and takes(entry)
            and not public_schema.is_there(entry)
            and not is_apart(entry, made)
        ]
        (directory / "list").write_text("".join(f"{entry.dump_id};\n" for entry in listed))
        if server.account is not None:
            for path in (directory / "toc.dat", directory / "list", directory):
                shutil.chown(path, server.account)
        yield directory
    finally:
        shutil.rmtree(directory)


# --- rows ------------------------------------------------------------------------------------------------------------


def _load_rows(
    server: Server,
    stored: StoredDatabase,
    database: str,
    jobs: int,
    wanted: Callable[[StoredTable], bool],
    progress: Progress,
) -> tuple[int, int]:
    """How many rows were loaded, and how many connections the server had to give."""
    tables = sorted((each for each in stored.tables if each.parts and wanted(each)), key=lambda each: -each.size)
    if not tables:
        return 0, jobs
    copies = {(entry.filename or b"").decode(): entry.copy for entry in stored.toc.of_kind("TABLE DATA")}
    made = {(entry.namespace, entry.tag) for entry in stored.toc.of_kind("TABLE")}
    emptying = {
        (entry.filename or b"").decode(): b"TRUNCATE TABLE ONLY %b.%b" % (_quoted(entry.namespace), _quoted(entry.tag))
        for entry in stored.toc.of_kind("TABLE DATA")
        if (entry.namespace, entry.tag) in made
    }
    work: queue.SimpleQueue[StoredTable] = queue.SimpleQueue()
    for table in tables:
        work.put(table)
    total = sum(table.size for table in tables)
    counts: list[int] = []
    done: list[int] = []
    errors: list[Exception] = []

    def loader(connection: psycopg.Connection[Any]) -> None:
        while not errors:
            try:
                table = work.get_nowait()
            except queue.Empty:
                return
            try:
                statement = copies[table.data]
                if not statement:
                    raise FormatError(stored.directory / "toc.dat", None, f"no COPY for {table.qualified}")
                counts.append(_load_table(connection, table, statement, emptying.get(table.data)))
                done.append(table.size)
                progress(ProgressEvent("pgsql restore", sum(done), total, "bytes", f"{stored.name}/{table.qualified}"))
            except Exception as error:  # noqa: BLE001 - whatever it is, the thread that waits for us raises it
                errors.append(error)

    with contextlib.ExitStack() as stack:
        # All are opened here: becoming another account is the whole process's business, so not for threads.
        connections: list[psycopg.Connection[Any]] = []
        for _ in range(min(jobs, len(tables))):
            try:
                connections.append(_loading_connection(server, stored, database))
            except DatabaseError:
                if not connections:
                    raise
                jobs = len(connections)  # fewer do, too
                break
            stack.callback(connections[-1].close)
        threads = [threading.Thread(target=loader, args=(connection,), daemon=True) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return sum(counts), jobs


def _loading_connection(server: Server, stored: StoredDatabase, database: str) -> psycopg.Connection[Any]:
    """Set as pg_restore sets its own."""
    encoding = stored.toc.encoding
    connection = open_connection(
        server,
        database,
        client_encoding="SQL_ASCII" if encoding in toc.RAW else encoding,
        row_security="off",
        xmloption="content",
        synchronous_commit="off",
    )
    for statement in search_path.statements_of(stored.toc):
        connection.execute(statement)
    return connection


def _load_table(
    connection: psycopg.Connection[Any], table: StoredTable, statement: bytes, emptying: bytes | None
) -> int:
    """One COPY: all of the table's rows, or none. Raises TableError.

    `emptying` truncates a table that this restore has made (None: it hasn't).
    """
    import psycopg

    try:
        with connection.transaction(), connection.cursor() as cursor:
            if emptying is not None:
                # Rows of a table emptied in the same transaction are appended strictly in order, and at wal_level
                # minimal without the write-ahead log. An extension's own table may hold rows already: not that one.
                cursor.execute(emptying)
                # Frozen from the start: otherwise every page is written once more when it is first read.
                statement = FROM_STDIN.sub(b"FROM stdin WITH (FREEZE)", statement)
            with cursor.copy(statement) as copy:
                for part in table.parts:
                    for chunk in _chunks(part.path, part.size):
                        copy.write(chunk)
            loaded = cursor.rowcount
    except psycopg.Error as error:
        context = f" ({one_line(error.diag.context)})" if error.diag.context else ""
        raise TableError(f"{one_line(error.diag.message_primary or error)}{context}", table.qualified) from error
    if table.rows is not None and loaded != table.rows:
        raise TableError(f"{loaded} rows were loaded, {table.rows} were dumped", table.qualified)
    return loaded


def _quoted(name: bytes | None) -> bytes:
    return b'"' + (name or b"").replace(b'"', b'""') + b'"'


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while size > 0:
            chunk = file.read(min(CHUNK, size))
            if not chunk:
                raise FormatError(path, None, "is shorter than it was a moment ago")
            size -= len(chunk)
            yield chunk


# --- large objects ---------------------------------------------------------------------------------------------------


def _load_large_objects(server: Server, stored: StoredDatabase, database: str) -> None:
    entries = [entry for entry in stored.toc.of_kind("BLOBS") if entry.filename]
    if not entries:
        return
    with connect(server, database) as connection:
        for entry in entries:
            objects = list(_objects(stored.directory, (entry.filename or b"").decode("ascii")))
            for first in range(0, len(objects), OBJECTS_AT_ONCE):
                with connection.transaction():
                    for oid, path in objects[first : first + OBJECTS_AT_ONCE]:
                        if stored.toc.version < FIRST_WITH_OBJECTS:
                            connection.execute("SELECT lo_create(%s::oid)", (oid,))
                        _load_large_object(connection, oid, path)


def _load_large_object(connection: psycopg.Connection[Any], oid: int, path: Path) -> None:
    import psycopg

    at = 0
    try:
        for chunk in _chunks(path, path.stat().st_size):
            connection.execute("SELECT lo_put(%s::oid, %s::bigint, %s)", (oid, at, chunk), binary=True)
            at += len(chunk)
    except (psycopg.Error, OSError) as error:
        raise TableError(one_line(error), f"large object {oid}") from error


def _objects(directory: Path, contents: str) -> Iterator[tuple[int, Path]]:
    """`blobs.toc`: an object id and a file name a line."""
    file = directory / contents
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            oid, _, name = line.rstrip(b"\n").partition(b" ")
            if not oid.isdigit() or not name or b"/" in name:
                raise FormatError(file, number, "not a large object's id and file")
            yield int(oid), directory / os.fsdecode(name)
