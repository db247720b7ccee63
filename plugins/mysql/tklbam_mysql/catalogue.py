"""What a server holds, read from its catalogue: databases, tables and how their rows print, and everything stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from tklbam_core.api import DatabaseFailure

from .connection import Error, Session, code, reason
from .locks import LOCK_WAIT_TIMEOUT, told
from .names import SYSTEM_DATABASES, is_hidden, literal, qualified, quote
from .settings import LOCK_TIMEOUT

HEX_TYPES = frozenset(
    {
        *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "vector"),
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
        *("geometrycollection", "geomcollection"),
    }
)
EXTERNAL_ENGINES = frozenset(
    {"mrg_myisam", "mrg_isam", "connect", "oqgraph", "spider", "vp", "federated", "federatedx", "blackhole"}
)
"""Engines that keep rows elsewhere or nowhere: their tables travel as definitions."""
ALWAYS_SAFE = frozenset({"utf8", "utf8mb3", "utf8mb4", "latin1", "ascii", "utf16", "utf16le", "utf32", "binary"})
"""Character sets whose valid text survives conversion to utf8mb4 and back (ucs2 may hold lone surrogates)."""


MYSQL_SETTINGS = (
    "SET show_gipk_in_create_table_and_information_schema=1",  # primary keys that the server made by itself
    "SET information_schema_stats_expiry=0",  # sizes of now, not of the day before
)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    charset: str | None
    generated: bool


@dataclass(slots=True)
class Stored:
    """A trigger, routine, event, sequence or view: how it is made again (formats: "Text of statements")."""

    kind: str
    name: str
    statement: str
    settings: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    broken: str = ""


@dataclass(slots=True)
class Table:
    """A table with rows. `key` are the primary key's columns in order, empty without one."""

    database: str
    name: str
    engine: str
    statement: str
    columns: list[Column]
    key: list[str]
    size: int
    versioned: bool = False
    transaction_precise: bool = False
    period: tuple[str, ...] = ()
    triggers: list[Stored] = field(default_factory=list)

    @property
    def has_history(self) -> bool:
        """Whether past rows can travel (transaction ids mean nothing on another server)."""
        return self.versioned and not self.transaction_precise

    @property
    def external(self) -> bool:
        return self.engine.lower() in EXTERNAL_ENGINES

    @property
    def label(self) -> str:
        return f"{self.database}.{self.name}"


@dataclass(slots=True)
class Database:
    name: str
    statement: str
    tables: list[Table] = field(default_factory=list)
    sequences: list[Stored] = field(default_factory=list)
    views: list[Stored] = field(default_factory=list)
    routines: list[Stored] = field(default_factory=list)
    events: list[Stored] = field(default_factory=list)


def database_names(session: Session) -> list[str]:
    """The databases that hold people's data."""
    names = [str(row[0]) for row in session.texts("SHOW DATABASES")]
    return [name for name in names if name.lower() not in SYSTEM_DATABASES and not is_hidden(name)]


def transactional_engines(session: Session) -> frozenset[str]:
    rows = session.texts("SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS='YES'")
    return frozenset(str(row[0]).lower() for row in rows)


class Reader:
    """Reads whole databases. What can't be read becomes a `DatabaseFailure` in `failures` and is left out."""

    def __init__(self, session: Session, is_mariadb: bool, lock_timeout: int = LOCK_TIMEOUT) -> None:
        self._session = session
        self._lock_timeout = lock_timeout
        self._mariadb = is_mariadb
        self.failures: list[DatabaseFailure] = []
        self.warnings: list[str] = []
        for statement in MYSQL_SETTINGS if not is_mariadb else ():
            with contextlib.suppress(Error):  # not every version has the variable
                session.execute(statement)

    def read(self, name: str) -> Database | None:
        """One database, everything in it by name. None (and a failure) when nothing of it can be read."""
        try:
            statement = self._create("DATABASE", quote(name), 1)
            self._session.execute(f"USE {quote(name)}")
            found = Database(name, statement)
            kinds = self._relations(name)
            columns = self._columns(name)
            keys = self._keys(name)
        except Error as error:
            self.failures.append(DatabaseFailure(database=name, reason=reason(error)))
            return None
        for relation, (kind, engine, size) in sorted(kinds.items()):
            if kind == "VIEW":
                self._take(name, relation, partial(self._view, found, relation))
            elif kind == "SEQUENCE":
                self._take(name, relation, partial(self._sequence, found, relation))
            else:
                table = Table(name, relation, engine, "", columns.get(relation, []), keys.get(relation, []), size)
                self._take(name, relation, partial(self._table, found, table))
        self._take(name, None, partial(self._attach_triggers, found))
        self._take(name, None, partial(self._routines, found))
        self._take(name, None, partial(self._events, found))
        return found

    def _take(self, database: str, table: str | None, action: Callable[[], None]) -> None:
        try:
            action()
        except Error as error:
            if code(error) in (1146, 1049):  # dropped since the list was read
                return
            why = told(code(error), error, self._lock_timeout)
            self.failures.append(DatabaseFailure(database=database, table=table, reason=why))

    def _show(self, kind: str, name: str) -> tuple[str | None, ...]:
        """SHOW CREATE of something that has a character set of its own: its text in that set, byte for byte."""
        self._session.execute("SET character_set_results=binary")
        try:
            return self._session.texts(f"SHOW CREATE {kind} {quote(name)}")[0]
        finally:
            self._session.execute("SET character_set_results=utf8mb4")

    def _create(self, kind: str, name: str, column: int) -> str:
        rows = self._session.texts(f"SHOW CREATE {kind} {name}")
        text = rows[0][column] if rows else None
        if text is None:
            raise Error(1142, f"no privilege to read the definition of {kind.lower()} {name}")
        return text

    def _relations(self, database: str) -> dict[str, tuple[str, str, int]]:
        rows = self._session.texts(
            "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, DATA_LENGTH FROM information_schema.TABLES "
            f"WHERE TABLE_SCHEMA={literal(database)}"
        )
        return {str(row[0]): (str(row[1]), row[2] or "", int(row[3] or 0)) for row in rows}

    def _columns(self, database: str) -> dict[str, list[Column]]:
        rows = self._session.texts(
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, EXTRA FROM information_schema.COLUMNS "
            f"WHERE TABLE_SCHEMA={literal(database)} ORDER BY TABLE_NAME, ORDINAL_POSITION"
        )
        found: dict[str, list[Column]] = {}
        for table, name, type_, charset, extra in rows:
            generated = any(
                word in str(extra).upper() for word in ("VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT")
            )
            found.setdefault(str(table), []).append(Column(str(name), str(type_).lower(), charset, generated))
        return found

    def _keys(self, database: str) -> dict[str, list[str]]:
        rows = self._session.texts(
            "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS "
            f"WHERE TABLE_SCHEMA={literal(database)} AND INDEX_NAME='PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX"
        )
        found: dict[str, list[str]] = {}
        for table, column in rows:
            found.setdefault(str(table), []).append(str(column))
        return found

    def _table(self, found: Database, table: Table) -> None:
        table.statement = statement = self._create("TABLE", quote(table.name), 1)
        table.versioned = "WITH SYSTEM VERSIONING" in statement
        if table.versioned:
            period = [column for column in table.columns if _is_period(statement, column)]
            table.period = tuple(column.name for column in period)
            table.transaction_precise = any(column.type == "bigint" for column in period)
        found.tables.append(table)

    def _view(self, found: Database, name: str) -> None:
        row = self._show("VIEW", name)
        view = Stored(
            "VIEW", name, str(row[1]), {"character_set_client": str(row[2]), "collation_connection": str(row[3])}
        )
        try:
            self._session.rows(f"SELECT 1 FROM {quote(name)} LIMIT 0")
        except Error as error:
            if code(error) == LOCK_WAIT_TIMEOUT:
                raise
            view.broken = reason(error)
            self.warnings.append(
                f"view {found.name}.{name} can't be used on this server ({view.broken}); its definition is kept"
            )
        found.views.append(view)

    def _sequence(self, found: Database, name: str) -> None:
        statement = self._create("SEQUENCE", quote(name), 1)
        row = self._session.rows(f"SELECT next_not_cached_value, cycle_count FROM {quote(name)}")[0]
        numbers = {"next": int(row[0]), "cycles": int(row[1])}
        found.sequences.append(Stored("SEQUENCE", name, statement, numbers=numbers))

    def _attach_triggers(self, found: Database) -> None:
        tables = {table.name: table for table in found.tables}
        rows = self._session.texts(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
            f"WHERE TRIGGER_SCHEMA={literal(found.name)} "
            "ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
        )
        for name, table in rows:
            if str(table) in tables:
                tables[str(table)].triggers.append(self._trigger(str(name)))

    def _trigger(self, name: str) -> Stored:
        row = self._show("TRIGGER", name)
        return Stored("TRIGGER", name, str(row[2]), _settings(row[1], row[3:6]))

    def _routines(self, found: Database) -> None:
        rows = self._session.texts(
            "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES "
            f"WHERE ROUTINE_SCHEMA={literal(found.name)} "
            "ORDER BY ROUTINE_TYPE='PACKAGE BODY', ROUTINE_TYPE, ROUTINE_NAME"
        )
        for kind, name in rows:
            self._take(found.name, f"{str(kind).lower()} {name}", partial(self._routine, found, str(kind), str(name)))

    def _routine(self, found: Database, kind: str, name: str) -> None:
        self._create(kind, qualified(found.name, name), 2)  # raises where the definition is withheld
        row = self._show(kind, name)
        found.routines.append(Stored(kind, name, str(row[2]), _settings(row[1], row[3:6])))

    def _events(self, found: Database) -> None:
        rows = self._session.texts(
            "SELECT EVENT_NAME FROM information_schema.EVENTS "
            f"WHERE EVENT_SCHEMA={literal(found.name)} ORDER BY EVENT_NAME"
        )
        for (name,) in rows:
            row = self._show("EVENT", str(name))
            settings = _settings(row[1], row[4:7]) | {"time_zone": str(row[2])}
            found.events.append(Stored("EVENT", str(name), str(row[3]), settings))


def _settings(sql_mode: str | None, charsets: Iterable[str | None]) -> dict[str, str]:
    client, collation, database = (str(value) for value in charsets)
    return {
        "sql_mode": sql_mode or "",
        "character_set_client": client,
        "collation_connection": collation,
        "database_collation": database,
    }


def _is_period(statement: str, column: Column) -> bool:
    start = statement.find(f"\n  {quote(column.name)} ") + 1
    line = statement[start : statement.find("\n", start)]
    return " GENERATED ALWAYS AS ROW " in line.upper()


def unsafe_charsets(session: Session, charsets: Iterable[str]) -> frozenset[str]:
    """Those of `charsets` in which some byte string does not survive conversion to utf8mb4 and back.

    Single-byte sets are tried out with all 256 bytes; multi-byte ones other than Unicode's are taken to be unsafe
    (cp932, for one, has two codes for one character).
    """
    unsafe = set()
    for charset in set(charsets) - ALWAYS_SAFE:
        every = bytes(range(256)).hex().upper()
        there = f"CONVERT(CONVERT(UNHEX('{every}') USING {charset}) USING utf8mb4)"
        query = (
            f"SELECT MAXLEN=1 AND HEX(CONVERT({there} USING {charset}))='{every}' "
            f"FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME='{charset}'"
        )
        try:
            safe = bool(session.value(query))
        except Error:
            safe = False
        if not safe:
            unsafe.add(charset)
    return frozenset(unsafe)
