"""What of a server is not in a backup, for a restore could not put it into a newer server: it is told instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tklbam_core.api import DatabaseError

from .connect import Server, connect, one_line

if TYPE_CHECKING:
    import psycopg

FIRST_USERS_OID = 16384
OF_A_STANDBY = ("primary_conninfo", "primary_slot_name")
"""What pg_basebackup sets there: not for another server."""


def warnings(server: Server) -> list[str]:
    """Whether template1 was changed, and what was set by ALTER SYSTEM; or that this can't be read."""
    try:
        return _of_template(server) + _of_system(server)
    except DatabaseError as error:
        return [
            f"changes to template1 and by ALTER SYSTEM can't be read, so they are not known: {one_line(error.what)}"
        ]


def _of_template(server: Server) -> list[str]:
    with connect(server, "template1") as connection:
        changed = users_objects(connection) + _properties(connection)
    if not changed:
        return []
    return [f"template1 was changed ({changed[0]}{', …' if len(changed) > 1 else ''}): this is not in the backup"]


def _of_system(server: Server) -> list[str]:
    if not server.superuser:
        return []
    with connect(server) as connection:
        rows = connection.execute(
            "SELECT DISTINCT name FROM pg_file_settings WHERE sourcefile LIKE %s AND name <> ALL(%s) ORDER BY 1",
            ("%/postgresql.auto.conf", list(OF_A_STANDBY)),
        ).fetchall()
    if not rows:
        return []
    names = ", ".join(row[0] for row in rows)
    return [f"what ALTER SYSTEM has set is not in the backup, but what stands in files of /etc is: {names}"]


def users_objects(connection: psycopg.Connection[Any]) -> list[str]:
    """Objects in the connection's database that did not come with the server, a few of each kind: "table x"."""
    kinds = {
        "table": ("pg_class", "relname"),
        "function": ("pg_proc", "proname"),
        "type": ("pg_type", "typname"),
        "schema": ("pg_namespace", "nspname"),
        "extension": ("pg_extension", "extname"),
        "language": ("pg_language", "lanname"),
        "operator": ("pg_operator", "oprname"),
        "event trigger": ("pg_event_trigger", "evtname"),
        "text search configuration": ("pg_ts_config", "cfgname"),
    }
    found: list[str] = []
    for kind, (catalogue, name) in kinds.items():
        rows = connection.execute(
            f"SELECT {name} FROM {catalogue} WHERE oid >= {FIRST_USERS_OID} ORDER BY oid LIMIT 5".encode()
        )
        found += [f"{kind} {row[0]}" for row in rows]
    return found


def _properties(connection: psycopg.Connection[Any]) -> list[str]:
    """What makes the connection's database another template than a new one, beside objects."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
        " WHERE d.datname = current_database()), EXISTS (SELECT FROM pg_default_acl),"
        " (SELECT n.nspacl IS DISTINCT FROM (SELECT i.initprivs FROM pg_init_privs i WHERE i.objoid = n.oid"
        " AND i.classoid = 'pg_namespace'::regclass) FROM pg_namespace n WHERE n.nspname = 'public')"
    ).fetchone()
    assert row is not None
    kinds = ("its settings", "default privileges", "privileges on schema public")
    return [kind for kind, differs in zip(kinds, row, strict=True) if differs]
