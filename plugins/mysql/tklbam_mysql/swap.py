"""A loaded database put in the place of the old one, and back: tables by one RENAME, the rest made again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .catalogue import Stored, database_names
from .connection import GONE, Error, Session, code, reason
from .names import FOREIGN_KEY, HiddenNames, literal, qualified, quote, unquote
from .objects import Trouble, drop, make_all, make_views
from .state import SAVED, SWAPPED, Link, SavedDatabase, State

LOCK_WAIT = 120
"""Seconds to wait for those who are using a table that is to be moved."""


def relations(session: Session, database: str) -> dict[str, str]:
    """Tables, views and sequences of a database: name → TABLE_TYPE."""
    rows = session.texts(
        f"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA={literal(database)}"
    )
    return {str(name): str(kind) for name, kind in rows}


def incoming_links(session: Session, database: str, going: set[str]) -> list[Link]:
    """Foreign keys into tables that go, from tables that stay (of this or another database)."""
    links = []
    for schema, table in _referring(session, database):
        if schema == database and table in going:
            continue
        statement = str(session.texts(f"SHOW CREATE TABLE {qualified(schema, table)}")[0][1])
        for line in statement.split("\n"):
            key = FOREIGN_KEY.match(line)
            if key and unquote(key.group(3) or quote(schema)) == database and unquote(key.group(4)) in going:
                links.append(Link(schema, table, unquote(key.group(2)), key.group(1)))
    return links


def _referring(session: Session, database: str) -> list[tuple[str, str]]:
    """Tables that have a foreign key into a database.

    InnoDB's own list is asked first: the standard one makes the server open every table of every database, which takes
    long, and was seen to end a MariaDB 10.11 whose MERGE tables were on the move.
    """
    name = "CONVERT(CAST(SUBSTRING_INDEX({}, '/', {}) AS BINARY) USING filename)"
    for source in ("INNODB_SYS_FOREIGN", "INNODB_FOREIGN"):
        try:
            rows = session.texts(
                f"SELECT DISTINCT {name.format('FOR_NAME', 1)}, {name.format('FOR_NAME', -1)}, "
                f"{name.format('REF_NAME', 1)} FROM information_schema.{source}"
            )
        except Error as error:
            if code(error) in GONE:
                raise
            continue
        return [(str(schema), str(table)) for schema, table, referenced in rows if referenced == database]
    rows = session.texts(
        "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE "
        f"WHERE REFERENCED_TABLE_SCHEMA={literal(database)}"
    )
    return [(str(schema), str(table)) for schema, table in rows]


def swap_in(session: Session, state: State, saved: SavedDatabase, statement: str) -> list[tuple[Link, str]]:
    """Puts the hidden new database's tables in place; views, routines, triggers and events are made afterwards.

    The record is durable before each step. Returns foreign keys of other tables that don't fit the new tables. Raises
    `Error`; then `put_back` restores what was.
    """
    names = HiddenNames(state.token)
    new, old = names.new(saved.number), names.old(saved.number)
    session.execute(f"SET lock_wait_timeout={LOCK_WAIT}")
    if not saved.existed and saved.name in database_names(session):
        # Not ours, and what puts things back would drop it.
        raise Error(1007, "a database of this name was made while this one was loaded: restore again to replace it")
    saved.links = incoming_links(session, saved.name, set(saved.going)) if saved.existed else []
    saved.step = SAVED
    state.save()
    if not saved.existed:
        session.execute(statement)
    else:
        clear_stored(session, saved.name, saved)
        _drop_links(session, saved.links)
    session.execute(f"CREATE DATABASE IF NOT EXISTS {quote(old)}")
    moves = [(qualified(saved.name, name), qualified(old, name)) for name in saved.going]
    moves += [(qualified(new, name), qualified(saved.name, name)) for name in saved.incoming]
    _rename(session, moves)
    saved.step = SWAPPED
    state.save()
    broken = _make_links(session, saved.links)
    if saved.existed and saved.whole:
        session.execute(options_of(statement, saved.name))
    session.execute(f"DROP DATABASE IF EXISTS {quote(new)}")
    return broken


def options_of(statement: str, name: str) -> str:
    """ALTER DATABASE with the options of a CREATE DATABASE statement."""
    options = re.sub(r"^CREATE DATABASE(?: /\*!.*?\*/)? " + re.escape(quote(name)), "", statement, count=1).strip()
    return f"ALTER DATABASE {quote(name)} {options}"


def clear_stored(session: Session, database: str, saved: SavedDatabase) -> None:
    """Drops what a rename can't move: events, triggers, views, routines, and tables that only refer to others."""
    for event in saved.events:
        drop(session, database, "EVENT", event.name)
    for trigger in saved.triggers:
        drop(session, database, "TRIGGER", trigger.name)
    for view in saved.views:
        drop(session, database, "VIEW", view.name)
    for routine in saved.routines:
        drop(session, database, routine.kind, routine.name)
    for name, _ in saved.merges:
        session.execute(f"DROP TABLE IF EXISTS {qualified(database, name)}")


def put_back(session: Session, state: State, databases: Sequence[SavedDatabase]) -> list[tuple[str, Trouble]]:
    """Makes databases what they were before the restore, from wherever the restore (or this) was stopped.

    Returns what could not be made again, with its database. Raises `Error`; running it again goes on.
    """
    names = HiddenNames(state.token)
    session.execute(f"SET lock_wait_timeout={LOCK_WAIT}, foreign_key_checks=0, sql_mode='NO_AUTO_VALUE_ON_ZERO'")
    troubles: list[tuple[str, Trouble]] = []
    moved = [saved for saved in databases if saved.step in (SAVED, SWAPPED)]
    # The last one swapped comes back first, so that foreign keys find their way back, too.
    for saved in reversed(moved):
        if saved.existed:
            troubles += _tables_back(session, saved, names.new(saved.number), names.old(saved.number))
        else:
            session.execute(f"DROP DATABASE IF EXISTS {quote(saved.name)}")
    existing = [saved for saved in moved if saved.existed]
    troubles += make_objects(
        session,
        [Objects(s.name, s.routines, s.views, s.triggers, s.events) for s in existing],
    )
    for saved in databases:
        for hidden in (names.new(saved.number), names.old(saved.number)):
            session.execute(f"DROP DATABASE IF EXISTS {quote(hidden)}")
    return troubles


@dataclass(frozen=True, slots=True)
class Objects:
    """What of one database is made rather than moved."""

    database: str
    routines: Sequence[Stored]
    views: Sequence[Stored]
    triggers: Sequence[Stored]
    events: Sequence[Stored]


def make_objects(session: Session, groups: Sequence[Objects]) -> list[tuple[str, Trouble]]:
    """Makes them for several databases, each kind everywhere before the next: views may use another's functions."""
    troubles: list[tuple[str, Trouble]] = []
    for group in groups:
        troubles += [(group.database, trouble) for trouble in make_all(session, group.database, group.routines)]
    troubles += make_views(session, [(group.database, view) for group in groups for view in group.views])
    for group in groups:
        for items in (group.triggers, group.events):
            troubles += [(group.database, trouble) for trouble in make_all(session, group.database, items)]
    return troubles


def _tables_back(session: Session, saved: SavedDatabase, new: str, old: str) -> list[tuple[str, Trouble]]:
    database = saved.name
    session.execute(f"CREATE DATABASE IF NOT EXISTS {quote(database)}")
    here, aside = relations(session, database), relations(session, old)
    back = [name for name in saved.going if name in aside]

    def is_new(name: str) -> bool:
        # A table of a name that went is the new one as long as the old one is aside.
        return here.get(name, "VIEW") != "VIEW" and (name in aside or name not in saved.going)

    strangers = [name for name in saved.incoming if is_new(name)]
    _drop_new_objects(session, saved, here, {*strangers, *saved.going})
    for name in saved.externals:
        if is_new(name):
            session.execute(f"DROP TABLE IF EXISTS {qualified(database, name)}")
    links = [link for link in incoming_links(session, database, set(strangers)) if link.database not in (new, old)]
    _drop_links(session, links)
    # New tables leave by the same rename that brings the old ones back; what an earlier rollback left is dropped.
    session.execute(f"DROP DATABASE IF EXISTS {quote(new)}")
    session.execute(f"CREATE DATABASE {quote(new)}")
    moves = [(qualified(database, name), qualified(new, name)) for name in strangers]
    moves += [(qualified(old, name), qualified(database, name)) for name in back]
    _rename(session, moves)
    for name, statement in saved.merges:
        session.execute(f"USE {quote(database)}")
        session.execute(f"DROP TABLE IF EXISTS {quote(name)}")
        session.execute(statement)
    failed = _make_links(session, _merge_links(saved.links, links))
    current = str(session.value_at(f"SHOW CREATE DATABASE {quote(database)}", 1))
    without_comment = " COMMENT ''" if " COMMENT " in current and " COMMENT " not in saved.statement else ""
    session.execute(options_of(saved.statement, database) + without_comment)
    return [(database, Trouble(Stored("FOREIGN KEY", link.name, link.clause), why)) for link, why in failed]


def _drop_new_objects(session: Session, saved: SavedDatabase, here: dict[str, str], leaving: set[str]) -> None:
    """Drops what the restore made in the database besides tables."""
    where = f"={literal(saved.name)}"
    for trigger, table in session.texts(
        f"SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA{where}"
    ):
        if table in leaving:
            drop(session, saved.name, "TRIGGER", str(trigger))
    kept = {view.name for view in saved.views}
    for name in saved.new_views:
        if here.get(name) == "VIEW" and name not in kept:
            drop(session, saved.name, "VIEW", name)
    if saved.whole:
        for (event,) in session.texts(f"SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA{where}"):
            drop(session, saved.name, "EVENT", str(event))
        for kind, name_ in session.texts(
            f"SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA{where} "
            "ORDER BY ROUTINE_TYPE='PACKAGE'"
        ):
            drop(session, saved.name, str(kind), str(name_))


def _merge_links(known: list[Link], found: Iterable[Link]) -> list[Link]:
    names = {(link.database, link.table, link.name) for link in known}
    return known + [link for link in found if (link.database, link.table, link.name) not in names]


def _rename(session: Session, moves: list[tuple[str, str]]) -> None:
    if moves:
        session.execute("SET foreign_key_checks=0")
        session.execute("RENAME TABLE " + ", ".join(f"{source} TO {target}" for source, target in moves))


def _drop_links(session: Session, links: Iterable[Link]) -> None:
    for link in links:
        if _has_link(session, link):
            session.execute(f"ALTER TABLE {qualified(link.database, link.table)} DROP FOREIGN KEY {quote(link.name)}")


def _make_links(session: Session, links: Iterable[Link]) -> list[tuple[Link, str]]:
    """Makes foreign keys again, replacing those of their names; what could not be made is returned."""
    session.execute("SET foreign_key_checks=0")
    failed = []
    for link in links:
        if link.table in relations(session, link.database):
            _drop_links(session, [link])
            try:
                session.execute(f"ALTER TABLE {qualified(link.database, link.table)} ADD {link.clause}")
            except Error as error:
                if code(error) in GONE:
                    raise
                failed.append((link, reason(error)))
    return failed


def _has_link(session: Session, link: Link) -> bool:
    return bool(
        session.rows(
            "SELECT 1 FROM information_schema.TABLE_CONSTRAINTS "
            f"WHERE CONSTRAINT_SCHEMA={literal(link.database)} AND TABLE_NAME={literal(link.table)} "
            f"AND CONSTRAINT_NAME={literal(link.name)} AND CONSTRAINT_TYPE='FOREIGN KEY'"
        )
    )


def make_late(session: Session, database: str, late: Iterable[tuple[str, str]]) -> list[str]:
    """ALTERs that need other tables in their places; returns what failed."""
    session.execute("SET foreign_key_checks=0, sql_mode='NO_AUTO_VALUE_ON_ZERO'")
    failed = []
    for table, clause in late:
        try:
            session.execute(f"USE {quote(database)}")
            session.execute(f"ALTER TABLE {quote(table)} {clause}")
        except Error as error:
            failed.append(f"table {table}: {clause}: {reason(error)}")
    return failed
