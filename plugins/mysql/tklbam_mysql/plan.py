"""What a restore is going to do, worked out before anything changes: which parts of the dump go where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tklbam_core.api import Limits

from .catalogue import Database, Stored
from .layout import Layout, TableEntry, TableFile
from .names import is_hidden, quote


@dataclass(slots=True)
class TablePlan:
    """One table of the dump that is to be made: `rows` says whether with its rows."""

    entry: TableEntry
    statement: str
    info: TableFile
    rows: bool
    external: bool
    triggers: list[Stored]

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def size(self) -> int:
        return sum(size for _, _, size in self.info.files) if self.rows else 0


@dataclass(slots=True)
class DatabasePlan:
    """One database of the dump. `whole`: its routines and events are taken, too."""

    name: str
    statement: str
    whole: bool
    tables: list[TablePlan] = field(default_factory=list)
    sequences: list[Stored] = field(default_factory=list)
    views: list[Stored] = field(default_factory=list)
    routines: list[Stored] = field(default_factory=list)
    events: list[Stored] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of all tables, sequences and views."""
        return [table.name for table in self.tables] + [each.name for each in (*self.sequences, *self.views)]

    @property
    def incoming(self) -> list[str]:
        """Names of the tables and sequences that are moved in."""
        return [table.name for table in self.tables if not table.external] + [each.name for each in self.sequences]


def make_plan(source: Layout, limits: Limits, present: dict[str, set[str]], folded: bool = False) -> list[DatabasePlan]:
    """The databases to restore. `present` are the tables and views on the server, by database; `folded`: it knows small
    letters only.

    A table that `limits` leave out stays as it is where it exists, and is made empty where it doesn't.
    """
    plans = []
    for name in source.databases():
        if is_hidden(name) or not limits.takes_database(name):
            continue
        named = _small if folded else str
        here = present.get(named(name), set())
        # A rule for every table is the same as one for the database.
        whole = limits.takes_table(name, "")
        plan = DatabasePlan(named(name), _statement(source, name).replace(quote(name), quote(named(name)), 1), whole)
        for entry in source.tables(name):
            taken = limits.takes_table(name, entry.name)
            if not taken and named(entry.name) in here:
                continue
            plan.tables.append(_table_plan(replace(entry, name=named(entry.name)), taken, plan.notes))
        plan.sequences = _taken(source.stored(name, "sequences"), name, limits, here, named)
        plan.views = _taken(source.views(name), name, limits, here, named)
        if whole:
            plan.routines = source.stored(name, "routines")
            plan.events = source.stored(name, "events")
        plans.append(plan)
    return plans


def _statement(source: Layout, name: str) -> str:
    from .layout import read_text

    return read_text(source.database(name) / "init")


def _table_plan(entry: TableEntry, taken: bool, notes: list[str]) -> TablePlan:
    info = entry.info
    if taken and info.failed:
        notes.append(f"table {entry.name} was not read whole when it was backed up: {info.failed}")
    return TablePlan(
        entry=entry,
        statement=entry.statement,
        info=info,
        rows=taken and info.data == "rows",
        external=info.data == "external",
        triggers=entry.triggers,
    )


def _taken(
    items: Sequence[Stored], database: str, limits: Limits, here: set[str], named: Callable[[str], str]
) -> list[Stored]:
    taken = [item for item in items if limits.takes_table(database, item.name) or named(item.name) not in here]
    return [replace(item, name=named(item.name)) for item in taken]


def _small(name: str) -> str:
    return name.lower()


def leaving(plan: DatabasePlan, found: Database, limits: Limits) -> tuple[list[str], list[str]]:
    """Tables (with sequences) and views of the database as it is that make room: all that the limits take."""
    names = [table.name for table in found.tables] + [each.name for each in found.sequences]
    arriving = {*plan.incoming, *(table.name for table in plan.tables), *(view.name for view in plan.views)}

    def goes(name: str) -> bool:
        return limits.takes_table(plan.name, name) or name in arriving

    return [name for name in names if goes(name)], [view.name for view in found.views if goes(view.name)]
