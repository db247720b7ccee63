"""What a restore notes before each step, so that a rollback knows at any later moment what to put back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tklbam_core.api import FormatError, atomic_write

from .catalogue import Stored
from .layout import AccountEntry

FILE = "state.json"
PLANNED, SAVED, SWAPPED = "planned", "saved", "swapped"
"""Steps of one database. PLANNED: untouched. SAVED: what is in this record may be on its way aside. SWAPPED: the new
tables are in place."""


@dataclass(slots=True)
class Link:
    """A foreign key of a table that stays, into a table that goes: dropped for the swap and made again after it."""

    database: str
    table: str
    name: str
    clause: str


@dataclass(slots=True)
class SavedDatabase:
    """One database as the restore found it. `number` makes its hidden names.

    `going`: tables and sequences that are moved aside; `incoming`: those that take their places; `externals`: new
    tables made in place, for they only refer to data elsewhere; `merges`: old ones of that kind that can't be moved,
    with their statements. Views, routines, events and triggers are those that go.
    """

    name: str
    number: int
    existed: bool
    statement: str = ""
    collation: str = ""
    step: str = PLANNED
    going: list[str] = field(default_factory=list)
    incoming: list[str] = field(default_factory=list)
    externals: list[str] = field(default_factory=list)
    merges: list[list[str]] = field(default_factory=list)
    views: list[Stored] = field(default_factory=list)
    new_views: list[str] = field(default_factory=list)
    routines: list[Stored] = field(default_factory=list)
    events: list[Stored] = field(default_factory=list)
    triggers: list[Stored] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    whole: bool = True


@dataclass(slots=True)
class State:
    """The whole record. `touched` are the accounts that the restore replaces, `accounts` all that were there before."""

    token: str
    server: str
    databases: list[SavedDatabase] = field(default_factory=list)
    accounts: list[AccountEntry] = field(default_factory=list)
    touched: list[list[Any]] = field(default_factory=list)
    path: Path | None = None

    def save(self) -> None:
        """Makes the record durable; does nothing where no rollback is wanted."""
        if self.path is not None:
            values = asdict(self)
            del values["path"]
            with atomic_write(self.path) as file:
                file.write(json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogateescape"))

    @classmethod
    def load(cls, directory: Path) -> State | None:
        """The record in a rollback directory, None where nothing was saved. Raises FormatError when damaged."""
        path = directory / FILE
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
            return cls(
                token=values["token"],
                server=values["server"],
                databases=[_database(each) for each in values["databases"]],
                accounts=[AccountEntry(**each) for each in values["accounts"]],
                touched=values["touched"],
                path=path,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(path, None, f"it is no record of a restore: {error}") from error


def _database(values: dict[str, Any]) -> SavedDatabase:
    for key in ("views", "routines", "events", "triggers"):
        values[key] = [Stored(**each) for each in values[key]]
    values["links"] = [Link(**each) for each in values["links"]]
    return SavedDatabase(**values)
