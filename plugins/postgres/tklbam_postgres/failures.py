"""Failures that know their table, and how they get into a report."""

from __future__ import annotations

from collections.abc import Iterable

from tklbam_core.api import DatabaseError, DatabaseFailure, TklbamError

from .connect import one_line


class TableError(DatabaseError):
    """A failure that has to do with one table (or other object), where that is known; `command` is what failed."""

    def __init__(self, what: str, table: str | None, remedy: str = "", command: str = "") -> None:
        super().__init__(what, remedy)
        self.table = table
        self.command = command


def failure_of(database: str, error: Exception) -> DatabaseFailure:
    """An exception as an entry of a report: one line, with what to do."""
    table = error.table if isinstance(error, TableError) else None
    what = f"{error.what}. {error.remedy}".rstrip(". ") if isinstance(error, TklbamError) else str(error)
    return DatabaseFailure(
        database=printable(database),
        table=None if table is None else printable(table),
        reason=printable(one_line(what)),
    )


def printable(text: str) -> str:
    """Names may have bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def told(failures: Iterable[DatabaseFailure]) -> str:
    """Failures as one sentence."""
    return "; ".join(f"{each.database}{f', {each.table}' if each.table else ''}: {each.reason}" for each in failures)
