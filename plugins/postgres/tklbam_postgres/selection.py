"""What limits mean for tables: a rule may name `table` or `schema.table`; partitions follow their parent."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from tklbam_core.api import Limits

from .catalogue import Table
from .layout import StoredDatabase, StoredTable


def takes_rows(limits: Limits, database: str, schema: str, name: str) -> bool:
    """Whether the rows of one table are taken, whatever it may be a partition of."""
    verdict = _own_rule(limits, database, schema, name)
    # Asking notes which rules have matched something.
    whole = limits.takes_table(database, f"{schema}.{name}") if verdict is None else verdict
    limits.takes_table(database, name)
    return whole


def without_rows(limits: Limits, database: str, tables: Iterable[Table]) -> list[Table]:
    """The tables whose rows are left out, in the order given."""
    by_oid = {table.oid: table for table in tables}

    def verdict(table: Table) -> bool:
        taken = takes_rows(limits, database, table.schema, table.name)
        parent = by_oid.get(table.parent) if table.parent is not None else None
        if parent is not None and _own_rule(limits, database, table.schema, table.name) is None:
            return verdict(parent)
        return taken

    return [table for table in by_oid.values() if not verdict(table)]


def _own_rule(limits: Limits, database: str, schema: str, name: str) -> bool | None:
    verdict = None
    for rule in limits.rules:
        if rule.table is None or not fnmatchcase(database, rule.database):
            continue
        if fnmatchcase(name, rule.table) or fnmatchcase(f"{schema}.{name}", rule.table):
            limits.takes_table(database, name)
            limits.takes_table(database, f"{schema}.{name}")
            verdict = rule.include
    return verdict


def stored_without_rows(limits: Limits, stored: StoredDatabase) -> frozenset[str]:
    """The tables of a dumped database (the names of their files in toc.dat) whose rows a restore leaves out."""
    return frozenset(table.data for table in stored.tables if not _takes_stored(limits, stored.name, table))


def _takes_stored(limits: Limits, database: str, table: StoredTable) -> bool:
    taken = takes_rows(limits, database, table.schema, table.name)
    if _own_rule(limits, database, table.schema, table.name) is not None:
        return taken
    for above in table.partition_of:
        schema, _, name = above.partition(".")
        verdict = _own_rule(limits, database, schema, name)
        if verdict is not None:
            return verdict
    return taken
