"""The files of `myfs/` version 2 (docs/formats/myfs.md): written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tklbam_core.api import FormatError

from .catalogue import Stored
from .names import SYSTEM_DATABASES, from_file_name, to_file_name

DIRECTORY = "myfs"
MANIFEST = "manifest.json"
UNFINISHED = "unfinished"
ACCOUNTS = "accounts"
FORMAT = 2
_SETTINGS = ("sql_mode", "character_set_client", "collation_connection", "database_collation", "time_zone")
_NUMBERS = ("next", "cycles")


@dataclass(slots=True)
class TableFile:
    """`table.json`: how a table's rows are to be read."""

    engine: str = ""
    data: str = "rows"
    columns: list[str] = field(default_factory=list)
    generated: list[str] = field(default_factory=list)
    hex: list[str] = field(default_factory=list)
    json: list[str] = field(default_factory=list)
    versioned: bool = False
    rows: int | None = None
    files: list[tuple[str, int, int]] = field(default_factory=list)
    literal: bool = False
    checksum: int | None = None
    failed: str = ""


@dataclass(slots=True)
class AccountEntry:
    account: str
    role: bool
    statements: list[str]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table as it lies in a dump."""

    database: str
    name: str
    directory: Path

    @property
    def statement(self) -> str:
        return read_text(self.directory / "init")

    @property
    def info(self) -> TableFile:
        path = self.directory / "table.json"
        values = read_json(path)
        try:
            values["files"] = [(str(name), int(rows), int(size)) for name, rows, size in values.get("files", [])]
            return TableFile(**values)
        except (TypeError, ValueError) as error:
            raise FormatError(path, None, f"it is not a table's description: {error}") from error

    @property
    def triggers(self) -> list[Stored]:
        return read_stored(self.directory / "triggers")

    def row_files(self) -> list[Path]:
        return [self.directory / "rows" / name for name, _, _ in self.info.files]


class Layout:
    """A `myfs/` directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def database(self, name: str) -> Path:
        return self.directory / to_file_name(name)

    def table(self, database: str, name: str) -> Path:
        return self.database(database) / "tables" / to_file_name(name)

    def view(self, database: str, name: str) -> Path:
        return self.database(database) / "views" / to_file_name(name) / "post"

    def begin(self) -> None:
        """Makes the directory, marked as a dump that has no end yet: without that it would pass for a classic one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / UNFINISHED).touch(mode=0o600)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Writes the manifest: now the dump is whole."""
        write_json(self.directory / MANIFEST, {"format": FORMAT, **manifest})
        (self.directory / UNFINISHED).unlink()

    @property
    def is_finished(self) -> bool:
        return (self.directory / MANIFEST).is_file()

    @property
    def is_unfinished(self) -> bool:
        return (self.directory / UNFINISHED).exists()

    def manifest(self) -> dict[str, Any]:
        """Raises FormatError when it is damaged or of a later format."""
        values = read_json(self.directory / MANIFEST)
        if values.get("format") != FORMAT:
            raise FormatError(
                self.directory / MANIFEST, None, f"format {values.get('format')!r} is not known here",
                "Install a newer tklbam-mysql.",
            )  # fmt: skip
        return values

    def databases(self) -> list[str]:
        found = [from_file_name(path.name) for path in self.directory.iterdir() if (path / "init").is_file()]
        return sorted(name for name in found if name.lower() not in SYSTEM_DATABASES)

    def tables(self, database: str) -> list[TableEntry]:
        return [
            TableEntry(database, from_file_name(path.name), path)
            for path in _entries(self.database(database) / "tables")
            if (path / "init").is_file()
        ]

    def views(self, database: str) -> list[Stored]:
        return [view for path in _entries(self.database(database) / "views") for view in read_stored(path / "post")]

    def stored(self, database: str, kind: str) -> list[Stored]:
        """`kind` is the file: "sequences", "routines", "events"."""
        return read_stored(self.database(database) / kind)

    def losses(self) -> list[str]:
        """What of this dump can't be restored anywhere, in words."""
        return []

    def accounts(self) -> list[AccountEntry]:
        if not (self.directory / ACCOUNTS).is_file():
            from .v1 import raw_accounts  # the tables of a script that had them

            return raw_accounts(self.tables("mysql"))
        return [AccountEntry(**values) for values in _json_lines(self.directory / ACCOUNTS)]


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def read_text(path: Path) -> str:
    """Raises FormatError when the file is missing."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise FormatError(path, None, f"it can't be read: {error.strerror}", "The backup is incomplete.") from error


def write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except ValueError as error:
        raise FormatError(path, None, f"it is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise FormatError(path, None, "it is no JSON object")
    return values


def write_table(path: Path, info: TableFile) -> None:
    values = {name: getattr(info, name) for name in TableFile.__slots__}
    write_json(path, {key: value for key, value in values.items() if value not in ("", False, None, [])})


def write_stored(path: Path, items: Iterable[Stored]) -> None:
    """One JSON object a line; no file when there is none."""
    lines = []
    for item in items:
        values: dict[str, Any] = {"kind": item.kind, "name": item.name, "statement": item.statement}
        values |= {**item.settings, **item.numbers}
        if item.broken:
            values["broken"] = item.broken
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    if lines:
        write_text(path, "".join(lines))


def read_stored(path: Path) -> list[Stored]:
    if not path.is_file():
        return []
    found = []
    for values in _json_lines(path):
        try:
            found.append(
                Stored(
                    kind=str(values["kind"]),
                    name=str(values["name"]),
                    statement=str(values["statement"]),
                    settings={key: str(values[key]) for key in _SETTINGS if key in values},
                    numbers={key: int(values[key]) for key in _NUMBERS if key in values},
                    broken=str(values.get("broken", "")),
                )
            )
        except (KeyError, ValueError) as error:
            raise FormatError(path, None, f"a line is not what it should be: {error}") from error
    return found


def write_accounts(path: Path, accounts: Iterable[AccountEntry]) -> None:
    lines = [
        json.dumps({"account": each.account, "role": each.role, "statements": each.statements}, ensure_ascii=False)
        + "\n"
        for each in accounts
    ]
    write_text(path, "".join(lines))


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line:
            try:
                yield json.loads(line)
            except ValueError as error:
                raise FormatError(path, number, f"it is no JSON: {error}") from error
