"""pgfs v1: an unpacked `pg_dump --format=tar` a database, `.globals.sql` beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tklbam_core.api import DatabaseError, FormatError

from . import toc
from .cut import TRAILER
from .layout import Part, StoredCluster, StoredDatabase, StoredTable

NAME = "pgfs v1"
DAMAGED = "The backup is damaged: restore an earlier session."


def read_index(base: Path) -> list[StoredCluster]:
    """The one server that a pgfs v1 holds. Raises FormatError where it is no pgfs."""
    databases = {path.name: path for path in sorted(base.iterdir()) if (path / "toc.dat").is_file()}
    script = base / ".globals.sql"
    if not databases and not script.exists():
        raise FormatError(base, None, "holds no PostgreSQL dump (neither pgfs.json nor a database's toc.dat)")
    return [StoredCluster(NAME, 0, script if script.exists() else None, databases)]


def read_database(name: str, directory: Path) -> StoredDatabase:
    """One database. Unpacked, a tar archive is a directory archive: pg_dump writes the same files in both.

    Raises FormatError where members that `manifest.txt` lists are not there.
    """
    contents = toc.read(directory / "toc.dat")
    for entry in contents.of_kind("BLOBS"):
        # The tar format names a file here that it does not write. From PostgreSQL 17 on there may be several of these.
        own = f"blobs_{entry.dump_id}.toc"
        entry.filename = own.encode() if (directory / own).is_file() else b"blobs.toc"
    manifest = directory / "manifest.txt"
    if manifest.exists():
        for number, member in enumerate(manifest.read_bytes().split(b"\n"), 1):
            if member and not (directory / member.decode("utf-8", "surrogateescape")).is_file():
                raise FormatError(manifest, number, f"{member!r} is not there", DAMAGED)
    return StoredDatabase(name, directory, contents, tuple(_tables(name, directory, contents)))


def _tables(database: str, directory: Path, contents: toc.Toc) -> Iterator[StoredTable]:
    for entry in contents.of_kind("TABLE DATA"):
        if not entry.filename:
            continue
        data = entry.filename.decode("ascii")
        schema = contents.text(entry.namespace)
        table = contents.text(entry.tag)
        path = directory / data
        size = _rows_size(path)
        if size is None:
            raise DatabaseError(
                f"rows of {database}, table {schema}.{table}, are damaged: {data} is cut short", DAMAGED
            )
        yield StoredTable(schema, table, data, None, (Part(path, size),) if size else ())


def _rows_size(path: Path) -> int | None:
    """Bytes of rows in a data file, None where its end is missing."""
    size = path.stat().st_size if path.is_file() else 0
    if size < len(TRAILER):
        return None
    with open(path, "rb") as file:
        file.seek(size - len(TRAILER))
        return size - len(TRAILER) if file.read() == TRAILER else None
