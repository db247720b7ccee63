"""The directory `sqlitefs` (docs/formats/sqlitefs.md), and what is done to single databases."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tklbam_core.api import DatabaseError, FormatError, atomic_write

ENGINE = "sqlite"
DIRECTORY = "sqlitefs"
TIMEOUT = 30.0
"""Seconds to wait for another program's lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One dumped database: where the copy is, where it lay (absolute within the root), rows of each table."""

    name: str
    path: str
    copy: Path
    tables: Mapping[str, int]


def file_name(name: str) -> str:
    return re.sub(rb"[^A-Za-z0-9._-]", lambda byte: b"%%%02X" % ord(byte[0]), os.fsencode(name)).decode("ascii")


def write_note(directory: Path, stored: Stored) -> None:
    note = {"format": 2, "name": stored.name, "path": stored.path, "tables": dict(stored.tables)}
    with atomic_write(directory / f"{file_name(stored.name)}.json") as file:
        file.write(json.dumps(note, indent=1, sort_keys=True).encode() + b"\n")


def read_notes(directory: Path) -> Iterator[Stored]:
    """Every database in a `sqlitefs`. Raises FormatError for a note that is none or names a path out of the root."""
    for path in sorted(directory.glob("*.json")):
        try:
            note = json.loads(path.read_bytes())
            name, place, tables = note["name"], note["path"], note["tables"]
            if note["format"] != 2 or not place.startswith("/") or ".." in place.split("/"):
                raise ValueError("its format or path is not one that a dump has")
            counts = {str(table): int(rows) for table, rows in tables.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(path, None, f"not the note of a dumped database: {error}") from error
        yield Stored(name=name, path=place, copy=path.with_suffix(".sqlite"), tables=counts)


@contextlib.contextmanager
def opened(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that is closed when the block ends; `write` may make the file. Raises DatabaseError."""
    # A path in a URI: SQLite would make a file that is missing, which reading must not.
    mode = "rwc" if write else "ro"
    quoted = os.fsencode(path).replace(b"%", b"%25").replace(b"?", b"%3f").replace(b"#", b"%23")
    try:
        connection = sqlite3.connect(
            f"file:{os.fsdecode(quoted)}?mode={mode}", uri=True, timeout=TIMEOUT, isolation_level=None
        )
    except sqlite3.Error as error:
        raise DatabaseError(f"{path} can't be opened: {error}", "Check that it exists and is readable.") from error
    try:
        yield connection
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {error}", "Check it with `sqlite3 FILE 'pragma integrity_check'`.") from error
    finally:
        connection.close()


def copy_database(source: Path, destination: Path) -> None:
    """SQLite's online backup: a consistent copy of a database in use. An existing destination is overwritten in one
    transaction, so programs that have it open see the old or the new, and a kill leaves the old."""
    with opened(source) as reading, opened(destination, write=True) as writing:
        reading.backup(writing)


def tables_of(connection: sqlite3.Connection) -> dict[str, int]:
    """Table → rows, SQLite's own tables aside."""
    names = [
        row[0]
        for row in connection.execute(
            "select name from sqlite_master"
            " where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name"
        )
    ]
    return {name: connection.execute(f"select count(*) from {quoted(name)}").fetchone()[0] for name in names}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def inside(root: Path, path: str) -> Path:
    """A path of the system under a root. Raises DatabaseError where its folder leads out of the root."""
    place = root / path.lstrip("/")
    parent = Path(os.path.realpath(place.parent))
    if not parent.is_relative_to(os.path.realpath(root)):
        raise DatabaseError(f"{path}: its folder leads out of {root}", "Restore it by hand.")
    return parent / place.name
