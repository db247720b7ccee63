"""A dump as one SQL script, for `mariadb < file`: the form that mariadb-dump gives, accounts at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from tklbam_core.api import Limits

from .accounts import wanted
from .catalogue import Stored
from .layout import Layout
from .load import computed_values
from .names import literal, quote
from .objects import without_definer
from .plan import DatabasePlan, TablePlan, make_plan
from .versions import END_OF_TIME, end_column, with_end

BATCH = 1 << 20
_COLLATION = re.compile(r" COLLATE (\w+)")
HEAD = """\
SET NAMES utf8mb4;
SET @old_time_zone=@@time_zone, time_zone='+00:00';
SET @old_foreign_key_checks=@@foreign_key_checks, foreign_key_checks=0;
SET @old_unique_checks=@@unique_checks, unique_checks=0;
SET @old_sql_mode=@@sql_mode, sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
"""
TAIL = """\
SET sql_mode=@old_sql_mode, unique_checks=@old_unique_checks, foreign_key_checks=@old_foreign_key_checks;
SET time_zone=@old_time_zone;
"""


def write_script(
    source: Layout,
    limits: Limits,
    output: BinaryIO,
    *,
    drop_databases: bool,
    extended: bool,
) -> list[DatabasePlan]:
    """Writes what `limits` take. `extended`: many rows an INSERT."""
    plans = make_plan(source, limits, {})
    put = _Put(output)
    put.text(HEAD)
    for plan in plans:
        if drop_databases:
            put.text(f"DROP DATABASE IF EXISTS {quote(plan.name)};\n")
        statement = plan.statement.replace("/*!32312 IF NOT EXISTS*/ ", "", 1)
        put.text(statement.replace("CREATE DATABASE ", "CREATE DATABASE /*!32312 IF NOT EXISTS*/ ", 1) + ";\n")
    for plan in plans:
        _sequences(put, plan)
    for plan in plans:
        _tables(put, plan, extended)
    for plan in plans:
        _stored(put, plan, plan.routines)
    for view, database in _views(plans):
        put.text(f"USE {quote(database)};\n")
        _settled(put, view, replaced(without_definer(view.statement)))
    for view, database in reversed(list(_views(plans))):
        put.text(f"USE {quote(database)};\n")
        _settled(put, view, replaced(view.statement))
    for plan in plans:
        _stored(put, plan, [trigger for table in plan.tables for trigger in table.triggers])
        _stored(put, plan, plan.events)
    if limits.takes_database("mysql"):
        entries = source.accounts()
        statements = [statement for entry in wanted(entries, "") for statement in entry.statements]
        # What is granted may be any other account.
        for statement in sorted(statements, key=lambda statement: not statement.startswith("CREATE ")):
            oracle = " ON PACKAGE " in statement
            put.text("SET sql_mode=ORACLE;\n" if oracle else "")
            put.text(if_missing(statement) + ";\n")
            put.text("SET sql_mode='NO_AUTO_VALUE_ON_ZERO';\n" if oracle else "")
    put.text(TAIL)
    return plans


class _Put:
    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def text(self, text: str) -> None:
        self._output.write(text.encode("utf-8", "surrogateescape"))

    def raw(self, data: bytes) -> None:
        self._output.write(data)


def if_missing(statement: str) -> str:
    """CREATE USER and CREATE ROLE for a server that may have the account."""
    for kind in ("CREATE USER ", "CREATE ROLE "):
        if statement.startswith(kind):
            return kind + "IF NOT EXISTS " + statement.removeprefix(kind)
    return statement


def replaced(statement: str) -> str:
    return statement.replace("CREATE ", "CREATE OR REPLACE ", 1) if statement.startswith("CREATE ") else statement


def _views(plans: Iterable[DatabasePlan]) -> Iterator[tuple[Stored, str]]:
    """Views with those they name first, as far as names tell: across databases, by how they mention each other."""
    left = [(view, plan.name) for plan in plans for view in plan.views]
    while left:
        ready = [
            (view, database)
            for view, database in left
            if not any(
                other is not view
                and f"{quote(other.name)}" in view.statement.split(" VIEW ", 1)[-1].split(" AS ", 1)[-1]
                for other, _ in left
            )
        ] or left
        yield from ready
        left = [each for each in left if each not in ready]


def _sequences(put: _Put, plan: DatabasePlan) -> None:
    put.text(f"USE {quote(plan.name)};\n" if plan.sequences else "")
    for sequence in plan.sequences:
        put.text(f"DROP SEQUENCE IF EXISTS {quote(sequence.name)};\n{sequence.statement};\n")
        numbers = sequence.numbers
        put.text(f"DO SETVAL({quote(sequence.name)}, {numbers['next']}, 0, {numbers['cycles']});\n")


def _tables(put: _Put, plan: DatabasePlan, extended: bool) -> None:
    put.text(f"USE {quote(plan.name)};\n")
    for table in sorted(plan.tables, key=lambda table: table.external):
        put.text(f"DROP TABLE IF EXISTS {quote(table.name)};\n{table.statement};\n")
        if table.rows and table.info.files:
            if table.info.versioned:
                put.text(f"SET system_versioning_insert_history=1, @end_of_time={END_OF_TIME};\n")
            _rows(put, table, extended)
            if table.info.versioned:
                put.text("SET system_versioning_insert_history=0;\n")


def _rows(put: _Put, table: TablePlan, extended: bool) -> None:
    names = f" ({', '.join(_column(name) for name in table.info.columns)})" if table.info.columns else ""
    start = f"INSERT INTO {quote(table.name)}{names} VALUES (".encode("utf-8", "surrogateescape")
    between = b"),\n(" if extended else b");\n" + start
    end = end_column(table.statement, table.info)
    replaced_values = computed_values(table.info) if end is None else with_end(table.info, end, "@end_of_time")
    for path in table.entry.row_files():
        with open(path, "rb") as file:
            while lines := file.readlines(BATCH):
                block = replaced_values(b"".join(lines).removesuffix(b"\n"))
                put.raw(start + block.replace(b"\n", between) + b");\n")


def _column(name: str) -> str:
    # The period columns of a table that does not name them are key words, not columns.
    return name if name in ("row_start", "row_end") else quote(name)


def _stored(put: _Put, plan: DatabasePlan, items: Iterable[Stored]) -> None:
    usual = _COLLATION.search(plan.statement)
    for item in items:
        put.text(f"USE {quote(plan.name)};\n")
        kind = item.kind
        if kind.startswith("PACKAGE"):
            put.text("SET sql_mode=ORACLE;\n")
        put.text(f"DROP {kind} IF EXISTS {quote(item.name)};\n")
        # Each remembers the database's collation at the moment it is made.
        wanted = item.settings.get("database_collation")
        differs = usual is not None and wanted is not None and wanted != usual.group(1)
        put.text(f"ALTER DATABASE {quote(plan.name)} COLLATE {wanted};\n" if differs else "")
        _settled(put, item, item.statement)
        put.text(f"ALTER DATABASE {quote(plan.name)} COLLATE {usual.group(1)};\n" if usual and differs else "")


def _settled(put: _Put, item: Stored, statement: str) -> None:
    settings = {key: value for key, value in item.settings.items() if key != "database_collation"}
    assignments = ", ".join(f"{key}={literal(value)}" for key, value in settings.items())
    put.text(f"SET {assignments};\n" if assignments else "")
    delimiter = ";;"
    while delimiter in statement:
        delimiter += ";"
    delimiter = delimiter if delimiter == ";;" else "//" + delimiter
    put.text(f"DELIMITER {delimiter}\n{statement} {delimiter}\nDELIMITER ;\n")
    put.text("SET NAMES utf8mb4, sql_mode='NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00';\n")
