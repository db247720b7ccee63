"""pgfs on disk, as docs/formats/pgfs.md specifies it: written by a dump, read by a restore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tklbam_core.api import DatabaseError, FormatError, atomic_write

from . import toc
from .cut import Rows
from .names import file_name

DIRECTORY = "pgfs"
FORMAT = {"format": "pgfs", "version": 2}
GLOBALS = "globals.sql"


@dataclass(frozen=True, slots=True)
class Part:
    """The first `size` bytes of a file are a run of rows."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One table's rows. `data` is the name of their file in toc.dat, `rows` how many (None: not noted); `partition_of`
    the tables (`schema.table`) that it is a part of, nearest first."""

    schema: str
    name: str
    data: str
    rows: int | None
    parts: tuple[Part, ...]
    partition_of: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class StoredDatabase:
    """A database in a backup; `directory` holds its large objects.

    `public` is schema public's owner and comment, None where it was dropped, empty where that was not noted.
    """

    name: str
    directory: Path
    toc: toc.Toc
    tables: tuple[StoredTable, ...]
    excluded: frozenset[str] = frozenset()
    collation: dict[str, Any] = field(default_factory=dict)
    public: dict[str, Any] | None = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(table.size for table in self.tables)

    @property
    def rows(self) -> int | None:
        counts = [table.rows for table in self.tables]
        return None if None in counts else sum(count for count in counts if count is not None)


@dataclass(frozen=True, slots=True)
class StoredCluster:
    """A server in a backup. `version` is PostgreSQL's number (150020), 0 where not noted; `databases` maps names to
    directories."""

    name: str
    version: int
    globals: Path | None
    databases: dict[str, Path]


# --- writing ---------------------------------------------------------------------------------------------------------


def write_json(file: Path, value: Any) -> None:
    with atomic_write(file) as out:
        out.write(json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def write_tables(
    file: Path, entries: list[tuple[str, str, str, Rows]], ancestors: dict[tuple[str, str], list[str]]
) -> None:
    """`tables.jsonl`: (schema, table, file name in toc.dat, rows) in the order of toc.dat.

    `ancestors` says what partitions (schema, table) are partitions of.
    """
    with atomic_write(file) as out:
        for schema, table, data, rows in entries:
            line = {
                "schema": schema,
                "table": table,
                "data": data,
                "rows": rows.count,
                "size": rows.size,
                "pieces": rows.pieces,
            }
            if (schema, table) in ancestors:
                line["partition_of"] = ancestors[schema, table]
            out.write(json.dumps(line).encode() + b"\n")


def write_index(base: Path, clusters: list[dict[str, Any]]) -> None:
    write_json(base / "pgfs.json", {**FORMAT, "clusters": clusters})


def database_directory(name: str) -> str:
    """What a database's directory is called: never as the file of globals beside it is."""
    return "%67lobals.sql" if name == GLOBALS else file_name(name)


def table_directory(database: Path, schema: str, table: str) -> Path:
    return database / "tables" / file_name(schema) / file_name(table)


# --- reading ---------------------------------------------------------------------------------------------------------


def is_v2(base: Path) -> bool:
    return (base / "pgfs.json").exists()


def read_index(base: Path) -> list[StoredCluster]:
    """The clusters of a pgfs v2. Raises FormatError."""
    file = base / "pgfs.json"
    index = _json(file, file.read_bytes(), None)
    if index.get("format") != "pgfs" or index.get("version") != 2:
        raise FormatError(file, None, "of a version that is not known here", "Restore it with a newer tklbam-postgres.")
    clusters = []
    for each in index["clusters"]:
        directory = _below(base, each["directory"], file)
        clusters.append(
            StoredCluster(
                each["name"],
                int(each["server_version"]),
                directory / GLOBALS,
                {one["name"]: _below(directory, one["directory"], file) for one in each["databases"]},
            )
        )
    return clusters


def read_database(name: str, directory: Path) -> StoredDatabase:
    """One database of a pgfs v2. Raises FormatError, and DatabaseError where a piece is missing or of another size."""
    file = directory / "database.json"
    facts = _json(file, file.read_bytes(), None)
    return StoredDatabase(
        name,
        directory,
        toc.read(directory / "toc.dat"),
        tuple(_read_tables(name, directory)),
        frozenset(facts.get("excluded", ())),
        facts.get("collation", {}),
        facts.get("public", {}),
    )


def _read_tables(database: str, directory: Path) -> Iterator[StoredTable]:
    file = directory / "tables.jsonl"
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            entry = _json(file, line, number)
            place = table_directory(directory, entry["schema"], entry["table"])
            parts = []
            for piece, size in entry["pieces"]:
                path = _below(place, f"{piece}.rows", file)
                found = path.stat().st_size if path.is_file() else None
                if found != size:
                    raise DatabaseError(
                        f"rows of {database}, table {entry['schema']}.{entry['table']}, are damaged: {path.name} "
                        + ("is missing" if found is None else f"has {found} bytes instead of {size}"),
                        "Fetch the backup again, or restore an earlier session.",
                    )
                parts.append(Part(path, size))
            yield StoredTable(
                entry["schema"],
                entry["table"],
                entry["data"],
                entry["rows"],
                tuple(parts),
                tuple(entry.get("partition_of", ())),
            )


def _json(file: Path, data: bytes, line: int | None) -> Any:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise FormatError(
            file, line, f"not JSON: {error}", "The backup is damaged: restore an earlier session."
        ) from error
    if not isinstance(value, dict):
        raise FormatError(file, line, "not a JSON object", "The backup is damaged: restore an earlier session.")
    return value


def _below(base: Path, name: str, file: Path) -> Path:
    if not name or "/" in name or name in (".", ".."):
        raise FormatError(file, None, f"{name!r} is not a plain file name", "The backup was tampered with.")
    return base / name
