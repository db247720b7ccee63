"""CREATE USER and GRANT out of the raw privilege tables of an old server.

The columns of those tables (`Select_priv`, …) are documented in the MySQL and MariaDB manuals, "Grant Tables".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .accounts import account_name
from .layout import AccountEntry
from .names import literal, qualified, quote

GRANT_TABLES = frozenset(["user", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv", "roles_mapping"])
Row = Mapping[str, str]
LOCKED = "/* its password was in the format of before MySQL 4.1 */ ACCOUNT LOCK"

_SPELLED = {
    "Repl_slave": "REPLICATION SLAVE",
    "Repl_client": "REPLICATION CLIENT",
    "Show_db": "SHOW DATABASES",
    "Create_tmp_table": "CREATE TEMPORARY TABLES",
    "Execute": "EXECUTE",
    "Alter_routine": "ALTER ROUTINE",
    "Create_routine": "CREATE ROUTINE",
    "Create_view": "CREATE VIEW",
    "Show_view": "SHOW VIEW",
    "Create_user": "CREATE USER",
    "Create_tablespace": "CREATE TABLESPACE",
    "Delete_history": "DELETE HISTORY",
    "Lock_tables": "LOCK TABLES",
}
_UNGRANTABLE = frozenset({"Grant"})
_ONCE = {
    "Create_view": "Create",
    "Show_view": "Create",
    "Create_routine": "Create",
    "Alter_routine": "Alter",
    "Create_user": "Grant",
    "Event": "Super",
    "Trigger": "Super",
    "Create_tablespace": "Super",
    "Delete_history": "Super",
}
"""What allowed these before they were privileges of their own: an upgrade gives them to who has that."""


def statements_of(raw: Mapping[str, Iterable[Mapping[str, bytes]]]) -> list[AccountEntry]:
    """Accounts from the rows of `GRANT_TABLES`, those that there are."""
    tables = {name: [_as_text(row) for row in rows] for name, rows in raw.items()}
    entries = []
    for user in tables.get("user", []):
        role = user.get("is_role") == "Y"
        name = account_name(user["User"], user["Host"], role)
        found = [_create(user, name, role), *_global(user, name)]
        for row in _of(tables.get("db", []), user):
            privileges = _privileges(row)
            if privileges:
                found.append(f"GRANT {', '.join(privileges)} ON {quote(row['Db'])}.* TO {name}{_option(row)}")
        found += _table_grants(tables, user, name)
        for row in _of(tables.get("procs_priv", []), user):
            privileges = _listed(row.get("Proc_priv", ""))
            if privileges:
                place = qualified(row["Db"], row["Routine_name"])
                kind = row.get("Routine_type", "PROCEDURE")
                found.append(
                    f"GRANT {', '.join(privileges)} ON {kind} {place} TO {name}{_list_option(row, 'Proc_priv')}"
                )
        found += _roles_and_proxies(tables, user, name)
        entries.append(AccountEntry(name, role, found))
    return sorted(entries, key=lambda entry: (not entry.role, entry.account))


def _as_text(row: Mapping[str, bytes]) -> Row:
    return {column: value.decode("utf-8", "surrogateescape") for column, value in row.items()}


def _roles_and_proxies(tables: Mapping[str, Sequence[Row]], user: Row, name: str) -> list[str]:
    found = []
    for row in _of(tables.get("roles_mapping", []), user):
        option = " WITH ADMIN OPTION" if row.get("Admin_option") == "Y" else ""
        found.append(f"GRANT {quote(row['Role'])} TO {name}{option}")
    if user.get("default_role"):
        found.append(f"SET DEFAULT ROLE {quote(user['default_role'])} FOR {name}")
    for row in _of(tables.get("proxies_priv", []), user):
        option = " WITH GRANT OPTION" if row.get("With_grant") == "1" else ""
        proxied = account_name(row["Proxied_user"], row["Proxied_host"], False)
        found.append(f"GRANT PROXY ON {proxied} TO {name}{option}")
    return found


def _create(user: Row, name: str, role: bool) -> str:
    if role:
        return f"CREATE ROLE {name}"
    plugin = user.get("plugin", "")
    password = user.get("authentication_string") or user.get("Password") or user.get("password") or ""
    if plugin and plugin not in ("mysql_native_password", "mysql_old_password"):
        how = f" IDENTIFIED VIA {plugin}" + (f" USING {literal(password)}" if password else "")
    elif len(password) == 16:
        # No server takes this hash any more; an account without a password must not come of it.
        return f"CREATE USER {name}{_require(user)}{_limits(user)}{_expired(user)} {LOCKED}"
    elif password:
        how = f" IDENTIFIED BY PASSWORD {literal(password)}"
    else:
        how = ""
    locked = " ACCOUNT LOCK" if user.get("account_locked") == "Y" else ""
    return f"CREATE USER {name}{how}{_require(user)}{_limits(user)}{_expired(user)}{locked}"


def _expired(user: Row) -> str:
    return " PASSWORD EXPIRE" if user.get("password_expired") == "Y" else ""


def _require(user: Row) -> str:
    kind = user.get("ssl_type", "")
    if kind == "ANY":
        return " REQUIRE SSL"
    if kind == "X509":
        return " REQUIRE X509"
    parts = [
        f"{word} {literal(user[column])}"
        for word, column in (("CIPHER", "ssl_cipher"), ("ISSUER", "x509_issuer"), ("SUBJECT", "x509_subject"))
        if kind == "SPECIFIED" and user.get(column)
    ]
    return " REQUIRE " + " AND ".join(parts) if parts else ""


def _limits(user: Row) -> str:
    parts = [
        f"{word} {user[column]}"
        for word, column in (
            ("MAX_QUERIES_PER_HOUR", "max_questions"),
            ("MAX_UPDATES_PER_HOUR", "max_updates"),
            ("MAX_CONNECTIONS_PER_HOUR", "max_connections"),
            ("MAX_USER_CONNECTIONS", "max_user_connections"),
        )
        if user.get(column, "0") not in ("", "0")
    ]
    return " WITH " + " ".join(parts) if parts else ""


def _global(user: Row, name: str) -> list[str]:
    earlier = {f"{new}_priv": user.get(f"{old}_priv", "N") for new, old in _ONCE.items()}
    privileges = _privileges(earlier | dict(user))
    return [f"GRANT {', '.join(privileges)} ON *.* TO {name}{_option(user)}"] if privileges else []


def _privileges(row: Row) -> list[str]:
    found = []
    for column, value in row.items():
        stem = column.removesuffix("_priv")
        if stem != column and value == "Y" and stem not in _UNGRANTABLE:
            found.append(_SPELLED.get(stem, stem.replace("_", " ").upper()))
    return found


def _option(row: Row) -> str:
    return " WITH GRANT OPTION" if row.get("Grant_priv") == "Y" else ""


def _list_option(row: Row, column: str) -> str:
    return " WITH GRANT OPTION" if "Grant" in row.get(column, "").split(",") else ""


def _listed(value: str) -> list[str]:
    return [word.upper() for word in value.split(",") if word and word != "Grant"]


def _table_grants(tables: Mapping[str, Sequence[Row]], user: Row, name: str) -> list[str]:
    found = []
    columns = _of(tables.get("columns_priv", []), user)
    for row in _of(tables.get("tables_priv", []), user):
        place = qualified(row["Db"], row["Table_name"])
        privileges = _listed(row.get("Table_priv", ""))
        of_columns: dict[str, list[str]] = {}
        for column in columns:
            if column["Db"] == row["Db"] and column["Table_name"] == row["Table_name"]:
                for privilege in _listed(column.get("Column_priv", "")):
                    of_columns.setdefault(privilege, []).append(quote(column["Column_name"]))
        privileges += [f"{privilege} ({', '.join(names)})" for privilege, names in of_columns.items()]
        if privileges:
            found.append(f"GRANT {', '.join(privileges)} ON {place} TO {name}{_list_option(row, 'Table_priv')}")
    return found


def _of(rows: Sequence[Row], user: Row) -> list[Row]:
    return [row for row in rows if row.get("User") == user["User"] and row.get("Host", "") == user["Host"]]
