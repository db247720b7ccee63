"""Views, routines, triggers, events and sequences: made and dropped under the settings they were written in."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .catalogue import Stored
from .connection import Error, Session, reason, set_names
from .names import literal, qualified, quote

_DEFINER = re.compile(rb"\bDEFINER=`(?:[^`]|``)*`@`(?:[^`]|``)*`")
_PLAIN = {"sql_mode": "", "character_set_client": "utf8mb4", "collation_connection": "utf8mb4_general_ci"}
_SAID = frozenset([*_PLAIN, "time_zone"])


def without_definer(statement: str) -> str:
    """The statement with whoever runs it as the definer."""
    raw = statement.encode("utf-8", "surrogateescape")
    return _DEFINER.sub(b"DEFINER=CURRENT_USER", raw, count=1).decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that could not be made, and why."""

    stored: Stored
    reason: str


def make(session: Session, database: str, stored: Stored, *, own_definer: bool = False, replace: bool = False) -> None:
    """Makes one object in `database`. Raises `pymysql.err.Error`.

    `own_definer` makes the account of this session its definer; `replace` puts it in the place of one of its name.
    """
    text = without_definer(stored.statement) if own_definer else stored.statement
    statement = text.encode("utf-8", "surrogateescape")
    if replace:
        statement = re.sub(rb"^\s*CREATE\b(?! OR REPLACE)", b"CREATE OR REPLACE", statement, count=1)
    session.execute(f"USE {quote(database)}")
    if stored.kind == "SEQUENCE":
        session.execute(statement)
        session.rows(f"SELECT SETVAL({quote(stored.name)}, {stored.numbers['next']}, 0, {stored.numbers['cycles']})")
        return
    said = {key: value for key, value in stored.settings.items() if key in _SAID and (value or key == "sql_mode")}
    with _database_collation(session, database, stored.settings.get("database_collation")):
        try:
            set_names(session, **_PLAIN | said)
            session.execute(statement)
        finally:
            set_names(session, **_PLAIN, time_zone="+00:00")


@contextlib.contextmanager
def _database_collation(session: Session, database: str, wanted: str | None) -> Iterator[None]:
    # Routines, triggers and events remember the database's collation at the moment they are made.
    if wanted is None:
        yield
        return
    found = session.value(
        f"SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={literal(database)}"
    )
    if found == wanted:
        yield
        return
    session.execute(f"ALTER DATABASE {quote(database)} COLLATE {wanted}")
    try:
        yield
    finally:
        session.execute(f"ALTER DATABASE {quote(database)} COLLATE {found}")


def drop(session: Session, database: str, kind: str, name: str) -> None:
    statement = f"DROP {kind} IF EXISTS {qualified(database, name)}"
    if kind.startswith("PACKAGE"):
        execute_oracle(session, statement)
    else:
        session.execute(statement)


def execute_oracle(session: Session, statement: str) -> None:
    """Runs a statement about packages, which the server only knows in this mode."""
    session.execute("SET sql_mode=ORACLE")
    try:
        session.execute(statement)
    finally:
        session.execute("SET sql_mode=''")


def make_all(session: Session, database: str, items: Iterable[Stored]) -> list[Trouble]:
    """Makes each, replacing one of its name; what can't be made is returned."""
    troubles = []
    for item in items:
        try:
            drop(session, database, item.kind, item.name)
            make(session, database, item)
        except Error as error:
            troubles.append(Trouble(item, reason(error)))
    return troubles


def make_views(session: Session, views: list[tuple[str, Stored]]) -> list[tuple[str, Trouble]]:
    """Makes views of several databases, whatever depends on what, and whoever their definers are.

    First all are made with this session's account as definer, as often as it takes for each to find those it needs;
    then, dependents first, each gets the definer it had: so a missing definer keeps neither a view nor those on top of
    it from being made.
    """
    waiting, made = list(views), []
    reasons: dict[int, str] = {}
    while waiting:
        left = []
        for database, view in waiting:
            try:
                make(session, database, view, own_definer=True, replace=True)
                made.append((database, view))
            except Error as error:
                reasons[id(view)] = reason(error)
                left.append((database, view))
        if len(left) == len(waiting):
            break
        waiting = left
    troubles = [(database, Trouble(view, reasons[id(view)])) for database, view in waiting]
    for database, view in reversed(made):
        try:
            make(session, database, view, replace=True)
        except Error as error:
            troubles.append((database, Trouble(view, reason(error))))
    return troubles
