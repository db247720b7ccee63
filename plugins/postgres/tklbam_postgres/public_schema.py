"""Schema `public`, which every database comes with: what pg_dump does not say of it.

Before 15 everybody might make tables in it, and pg_dump said how privileges differ from that, nothing of the schema's
owner and comment. No version says that it was dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import toc
from .connect import Server
from .databases import execute_inside
from .layout import StoredDatabase
from .names import identifier, literal

if TYPE_CHECKING:
    import psycopg

TOLD_BY_PG_DUMP = 15


def facts(connection: psycopg.Connection[Any]) -> dict[str, Any] | None:
    """Owner and comment in the connection's database; None: there is no such schema."""
    row = connection.execute(
        "SELECT pg_get_userbyid(nspowner), obj_description(oid, 'pg_namespace') FROM pg_namespace"
        " WHERE nspname = 'public'"
    ).fetchone()
    return None if row is None else {"owner": row[0], "comment": row[1]}


def is_there(entry: toc.Entry) -> bool:
    """Whether the archive, of a program before 11, would make what is in every new database of later servers."""
    return (entry.kind == "SCHEMA" and entry.sql.startswith(b"CREATE SCHEMA public;")) or (
        entry.kind == "PROCEDURAL LANGUAGE" and entry.tag == b"plpgsql"
    )


def prepare(server: Server, stored: StoredDatabase, database: str) -> list[str]:
    """Makes it in `database`, new and empty, what the archive takes for granted; returns warnings.

    Raises DatabaseError where the server is gone.
    """
    if stored.public is None:
        return execute_inside(server, database, ["DROP SCHEMA public"])
    if toc.major(stored.toc.dump_version) >= TOLD_BY_PG_DUMP:
        return []
    todo = []
    if server.major >= TOLD_BY_PG_DUMP:
        todo.append("GRANT CREATE ON SCHEMA public TO PUBLIC")
    for entry in filter(is_there, stored.toc.of_kind("SCHEMA")):
        todo.append(f"ALTER SCHEMA public OWNER TO {identifier(stored.toc.text(entry.owner))}")
    if stored.public:  # not in dumps of older versions
        comment = stored.public["comment"]
        todo.append(f"ALTER SCHEMA public OWNER TO {identifier(stored.public['owner'])}")
        todo.append(f"COMMENT ON SCHEMA public IS {'NULL' if comment is None else literal(comment)}")
    return execute_inside(server, database, todo)
