"""Databases as a whole: made beside, given their properties, put in another's place at once, dropped."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tklbam_core.api import DatabaseError

from . import catalogue, toc
from .connect import Server, connect, one_line, open_connection
from .names import identifier, literal
from .sqltext import IDENTIFIER, rename_database, statements, unquote

if TYPE_CHECKING:
    import psycopg

TABLESPACE = re.compile(rf"\s+TABLESPACE = ({IDENTIFIER})", re.DOTALL)
LOCALE = re.compile(
    r"\s+(?:LOCALE|LC_COLLATE|LC_CTYPE|LOCALE_PROVIDER|ICU_LOCALE|ICU_RULES|BUILTIN_LOCALE) = (?:E?'(?:[^']|'')*'|\w+)"
)
PROVIDER = re.compile(r"\s+LOCALE_PROVIDER = \w+")
TRIES, PAUSE = 20, 0.005
"""How often, and how many seconds apart, sessions are looked for before a rename."""
COLLATION = re.compile(rf"\bCOLLATE pg_catalog\.({IDENTIFIER})")
OWN_PROPERTIES = ("DATABASE PROPERTIES", "COMMENT", "ACL")


def create(server: Server, contents: toc.Toc, name: str, locale: str | None, spaces: Iterable[str]) -> int:
    """Makes an empty database as `contents` describes it, called `name`; returns its object id.

    `locale` takes the place of the one described; `spaces` are the server's tablespaces: one that is missing is left
    out. Raises DatabaseError.
    """
    import psycopg

    entries = contents.of_kind("DATABASE")
    if not entries:
        raise DatabaseError("the dump does not say how its database was made (it has no DATABASE entry)")
    original = contents.text(entries[0].tag)
    statement = next(statements(contents.text(entries[0].sql)))
    match = TABLESPACE.search(statement)
    if match and match[1].strip('"') not in set(spaces):
        statement = statement[: match.start()] + statement[match.end() :]
    if server.major < 15:
        statement = PROVIDER.sub("", statement)  # said by newer programs of a server that has but one
    if locale is not None:
        statement = f"{LOCALE.sub('', statement)} LOCALE = {literal(locale)}"
    with connect(server) as connection:
        try:
            connection.execute(rename_database(statement, original, identifier(name)).encode())
        except psycopg.errors.InvalidParameterValue as error:
            raise _bad_locale(error) from error
        except psycopg.errors.WrongObjectType as error:
            raise _bad_locale(error) from error
        except psycopg.Error as error:
            raise DatabaseError(f"a database can't be made: {one_line(error)}", "See the server's log.") from error
        row = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,)).fetchone()
        assert row is not None
        return int(row[0])


def find_collations(server: Server, contents: toc.Toc, name: str) -> None:
    """Has database `name`, new and empty, know what collations its system has: a template knows those of the day it
    was made. Raises DatabaseError where `contents` needs one that is not there.
    """
    # Bodies of functions are not looked into when they are made.
    parsed = [entry for entry in contents.entries if entry.kind not in ("FUNCTION", "PROCEDURE", "COMMENT")]
    wanted = {unquote(found) for entry in parsed for found in COLLATION.findall(contents.text(entry.sql))}
    with connect(server, name) as connection:
        for last in (False, True):
            rows = connection.execute(
                "SELECT collname FROM pg_collation WHERE collnamespace = 'pg_catalog'::regnamespace AND collencoding"
                " IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))"
            )
            missing = sorted(wanted - {row[0] for row in rows})
            if not missing:
                return
            if last:
                raise DatabaseError(
                    f"collation {', '.join(missing)} is not on this system",
                    "Make its locale (locale-gen) and restart PostgreSQL, then run the restore again.",
                )
            if server.superuser:
                connection.execute("SELECT pg_import_system_collations('pg_catalog')")


def _bad_locale(error: Exception) -> DatabaseError:
    return DatabaseError(
        f"the database's locale is not on this system: {one_line(error)}",
        "Make it (locale-gen) and restart PostgreSQL, or choose another with database-option pgsql:locale=C.UTF-8.",
    )


def set_properties(server: Server, contents: toc.Toc, name: str, more: Iterable[str]) -> list[str]:
    """Owner, settings, privileges and comment of the described database onto `name`; returns warnings.

    `more` are further statements about `name` (settings of a role in it).
    """
    entry = contents.of_kind("DATABASE")[0]
    original = contents.text(entry.tag)
    todo = []
    if entry.owner:
        todo.append(f"ALTER DATABASE {identifier(name)} OWNER TO {identifier(contents.text(entry.owner))}")
    for each in contents.of_kind(*OWN_PROPERTIES):
        if each.kind == "DATABASE PROPERTIES" or contents.text(each.tag).startswith("DATABASE "):
            todo += [
                rename_database(statement, original, identifier(name))
                for statement in statements(contents.text(each.sql))
            ]
    # From inside, as pg_restore does: names and comments are kept in the encoding of the database that one is connected
    # to. What is said elsewhere is in the encoding of elsewhere.
    strings = "on" if contents.standard_strings else "off"
    warnings = execute_inside(server, name, todo, standard_conforming_strings=strings)
    with connect(server) as connection:
        warnings += _execute_all(connection, more)
    return [warning.replace(identifier(name), identifier(original)) for warning in warnings]


def execute_inside(server: Server, name: str, todo: Iterable[str], **settings: str) -> list[str]:
    """Warnings about what database `name` refused. Raises DatabaseError where the server is gone."""
    with connect(server, name, **settings) as connection:
        return _execute_all(connection, todo)


def _execute_all(connection: psycopg.Connection[Any], todo: Iterable[str]) -> list[str]:
    """Warnings about what was refused. Raises DatabaseError where the server is gone."""
    import psycopg

    warnings = []
    for statement in todo:
        try:
            connection.execute(statement.encode("utf-8", "surrogateescape"))
        except psycopg.Error as error:
            if connection.broken:
                raise DatabaseError(f"the server went away: {one_line(error)}", "See its log.") from error
            what = " ".join(statement.split())[:120]
            warnings.append(f"not set: {what}: {error.diag.message_primary}")
    return warnings


def swap(server: Server, name: str, new: str, old: str | None) -> None:
    """In one transaction `name` becomes `old` (None: there is none) and `new` becomes `name`.

    Whoever is connected to `name` is disconnected. Raises DatabaseError; then nothing has changed.
    """
    import psycopg

    with connect(server, other_than(name)) as connection, _disconnecting(server, name, new):
        try:
            with connection.transaction():
                if old is not None:
                    connection.execute(_rename(name, old))
                connection.execute(_rename(new, name))
        except psycopg.Error as error:
            raise DatabaseError(
                f"{name} could not be replaced: {one_line(error)}", "End what is using it, then run the restore again."
            ) from error


def other_than(name: str) -> str | None:
    """A maintenance database that is not `name`, so that `name` can be renamed or dropped."""
    return "template1" if name == "postgres" else None


def _rename(name: str, to: str) -> bytes:
    return f"ALTER DATABASE {identifier(name)} RENAME TO {identifier(to)}".encode()


class _disconnecting:
    """Ends all sessions of databases for as long as the block runs.

    A rename locks out new sessions first, then waits some seconds for the old ones to go: this makes them.
    """

    def __init__(self, server: Server, *names: str) -> None:
        self._connection = open_connection(server, other_than(names[0]))
        self._names = list(names)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        # A rename that meets a session looks again after a tenth of a second; most sessions are gone long before.
        with self._unheard():
            for _ in range(TRIES):
                if not self._end_sessions():
                    break
                time.sleep(PAUSE)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        with self._unheard():
            while not self._stop.wait(0.1):
                self._end_sessions()

    @staticmethod
    def _unheard() -> contextlib.suppress:
        """For errors: the rename itself then says what is in its way."""
        import psycopg

        return contextlib.suppress(psycopg.Error)

    def _end_sessions(self) -> int:
        """How many there were."""
        return self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = ANY(%s) AND pid <> pg_backend_pid()",
            (self._names,),
        ).rowcount


def drop(server: Server, name: str) -> None:
    """Drops a database, whoever is connected, and its subscriptions, without touching the publisher.

    No database of that name is no error. Raises DatabaseError.
    """
    import psycopg

    with connect(server, other_than(name)) as connection:
        row = connection.execute(
            "SELECT datistemplate, datallowconn FROM pg_database WHERE datname = %s", (name,)
        ).fetchone()
        if row is None:
            return
        try:
            if row[0]:
                connection.execute(f"ALTER DATABASE {identifier(name)} IS_TEMPLATE false".encode())
            _drop_subscriptions(server, connection, name)
            if server.version >= 130000:
                connection.execute(f"DROP DATABASE {identifier(name)} WITH (FORCE)".encode())
            else:
                with _disconnecting(server, name):
                    connection.execute(f"DROP DATABASE {identifier(name)}".encode())
        except psycopg.Error as error:
            raise DatabaseError(
                f"database {name} can't be dropped: {one_line(error)}", "Drop it by hand (dropdb)."
            ) from error


def _drop_subscriptions(server: Server, connection: psycopg.Connection[Any], name: str) -> None:
    found = catalogue.subscriptions(connection, name)
    if found:
        connection.execute(f"ALTER DATABASE {identifier(name)} ALLOW_CONNECTIONS true".encode())
        with connect(server, name) as inside:
            for subscription, _ in found:
                quoted = identifier(subscription)
                inside.execute(f"ALTER SUBSCRIPTION {quoted} DISABLE".encode())
                inside.execute(f"ALTER SUBSCRIPTION {quoted} SET (slot_name = NONE)".encode())
                inside.execute(f"DROP SUBSCRIPTION {quoted}".encode())


def pause_subscriptions(server: Server, name: str, enabled: Iterable[str], *, resume: bool = False) -> None:
    """Disables (or enables again) subscriptions of a database. Raises DatabaseError."""
    import psycopg

    with connect(server, name) as connection:
        for subscription in enabled:
            word = "ENABLE" if resume else "DISABLE"
            try:
                connection.execute(f"ALTER SUBSCRIPTION {identifier(subscription)} {word}".encode())
            except psycopg.Error as error:
                raise DatabaseError(f"subscription {subscription} of {name}: {one_line(error)}") from error


def oids(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Object ids of all databases by name."""
    return {row[0]: int(row[1]) for row in connection.execute("SELECT datname, oid FROM pg_database")}
