"""What the server's catalogues say of databases and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .connect import Server, connect
from .names import is_temporary

if TYPE_CHECKING:
    import psycopg

SYSTEM_SCHEMAS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


@dataclass(frozen=True, slots=True)
class Database:
    name: str
    oid: int
    connectable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table, partition or materialised view. `parent` is the oid of what it is a partition of,
    `size` bytes on the server's disk without indexes; a standby has no rows of one that is `unlogged`."""

    oid: int
    schema: str
    name: str
    kind: str
    parent: int | None = None
    size: int = 0
    unlogged: bool = False

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


def databases(server: Server) -> list[Database]:
    """All databases but the templates and those of ours, in name order. Raises DatabaseError."""
    with connect(server) as connection:
        rows = connection.execute(
            "SELECT datname, oid, datallowconn FROM pg_database WHERE datname NOT IN ('template0', 'template1')"
        ).fetchall()
    return sorted((Database(*row) for row in rows if not is_temporary(row[0])), key=lambda each: each.name)


def leftovers(connection: psycopg.Connection[Any]) -> list[str]:
    """Databases of ours that an earlier restore left."""
    names = [row[0] for row in connection.execute("SELECT datname FROM pg_database")]
    return sorted(name for name in names if is_temporary(name))


def tables(connection: psycopg.Connection[Any]) -> list[Table]:
    """Everything in the connection's database that can hold rows of its own, partitioned tables included."""
    rows = connection.execute(
        "SELECT c.oid, n.nspname, c.relname, c.relkind::text,"
        " (SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = c.oid AND c.relispartition),"
        # Not pg_table_size: that would wait for a table that somebody has locked.
        " (c.relpages::bigint + coalesce((SELECT t.relpages FROM pg_class t WHERE t.oid = c.reltoastrelid), 0))"
        " * current_setting('block_size')::bigint, c.relpersistence = 'u'"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE c.relkind IN ('r', 'p', 'm') AND {SYSTEM_SCHEMAS} ORDER BY n.nspname, c.relname"
    ).fetchall()
    return [Table(*row) for row in rows]


def ancestors(tables: list[Table]) -> dict[tuple[str, str], list[str]]:
    """What each partition (schema, name) is a partition of, nearest first, as `schema.table`."""
    by_oid = {table.oid: table for table in tables}
    found: dict[tuple[str, str], list[str]] = {}
    for table in tables:
        above, parent = [], table.parent
        while parent is not None and parent in by_oid:
            above.append(by_oid[parent].qualified)
            parent = by_oid[parent].parent
        if above:
            found[table.schema, table.name] = above
    return found


def database_facts(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Encoding and collation of the connection's database, as pgfs keeps them."""
    row = connection.execute(
        "SELECT to_jsonb(d), pg_encoding_to_char(encoding) FROM pg_database d WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    facts: dict[str, Any] = row[0]
    return {
        "encoding": row[1],
        "collation": {
            "provider": facts.get("datlocprovider", "c"),
            "collate": facts["datcollate"],
            "ctype": facts["datctype"],
            "locale": facts.get("datlocale") or facts.get("daticulocale"),  # the name changed in PostgreSQL 17
            "version": facts["datcollversion"] if "datcollversion" in facts else _libc_version(connection),
        },
    }


def _libc_version(connection: psycopg.Connection[Any]) -> str | None:
    """The version of the connection's database's collation where the server keeps none of it, which is before 15: that
    of any other collation of the C library (13 and 14 tell it). None: not known, or text sorts by bytes."""
    if connection.info.server_version < 130000:
        return None
    row = connection.execute(
        "SELECT max(pg_collation_actual_version(c.oid)) FROM pg_collation c, pg_database d"
        " WHERE c.collprovider = 'c' AND d.datname = current_database() AND d.datcollate !~* '^(C|POSIX)($|[.])'"
    ).fetchone()
    return None if row is None else row[0]


def subscriptions(connection: psycopg.Connection[Any], database: str) -> list[tuple[str, bool]]:
    """A database's subscriptions, and whether each is enabled; none where we may not look (not a superuser)."""
    import psycopg

    try:
        return connection.execute(
            "SELECT s.subname, s.subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
            " WHERE d.datname = %s ORDER BY 1",
            (database,),
        ).fetchall()
    except psycopg.errors.InsufficientPrivilege:
        return []


def logical_slots(connection: psycopg.Connection[Any], database: str) -> list[str]:
    """The replication slots of a database: what follows its changes from elsewhere."""
    rows = connection.execute("SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1", (database,))
    return [row[0] for row in rows]


def exclusive_locks(connection: psycopg.Connection[Any]) -> list[str]:
    """Tables of the connection's database that somebody holds so that they can't even be read, as `schema.table`."""
    rows = connection.execute(
        "SELECT DISTINCT n.nspname || '.' || c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.granted AND l.mode = 'AccessExclusiveLock'"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        f" AND c.relkind IN ('r', 'p', 'm', 'S', 'v', 'f') AND {SYSTEM_SCHEMAS} ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]
