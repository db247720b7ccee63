"""Roles, memberships and tablespaces: merged into a server on restore, put back on rollback.

The new server's own administrators (its superusers, and whoever we are connected as) keep their attributes and
passwords. Other roles that exist get those of the backup, missing ones are made; nothing is dropped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .journal import ClusterStep, Journal
from .names import identifier, literal
from .sqltext import IDENTIFIER, statements, unquote

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

ROLE = re.compile(rf"(CREATE|ALTER|COMMENT ON) ROLE ({IDENTIFIER})", re.DOTALL)
TABLESPACE = re.compile(rf"CREATE TABLESPACE ({IDENTIFIER})", re.DOTALL)
IN_DATABASE = re.compile(rf"ALTER ROLE {IDENTIFIER} IN DATABASE ({IDENTIFIER})", re.DOTALL)
MEMBERSHIP = re.compile(
    rf"(?P<grant>GRANT {IDENTIFIER} TO (?P<member>{IDENTIFIER}))"
    rf"(?: WITH (?P<options>.*?))?(?P<by> GRANTED BY {IDENTIFIER})?",
    re.DOTALL,
)
INHERIT_OPTION = re.compile(r"\bINHERIT (?:TRUE|FALSE|OPTION)\b")
SET_OPTION = re.compile(r"\bSET (?:TRUE|FALSE|OPTION)\b")
MD5 = re.compile(rf"ALTER ROLE ({IDENTIFIER}) WITH (?=.*\bLOGIN\b).* PASSWORD 'md5[0-9a-f]{{32}}'", re.DOTALL)
GRANTOR = re.compile(rf"\s+GRANTED BY {IDENTIFIER}$")
LISTED = re.compile(r'\s*((?:"(?:[^"]|"")*"|[^,"])+)')
FLAGS = {
    "rolsuper": "SUPERUSER",
    "rolinherit": "INHERIT",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolcanlogin": "LOGIN",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}


def merge(
    connection: Connection, script: str, step: ClusterStep, journal: Journal
) -> tuple[list[str], dict[str, list[str]]]:
    """Applies `pg_dumpall --globals-only`'s statements; notes in `step` what will be made before it is.

    Returns warnings, and statements about a role in one database, by database, for when that database is there.
    """
    existing = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    spaces = {row[0] for row in connection.execute("SELECT spcname FROM pg_tablespace")}
    protected = {
        row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper OR rolname = current_user")
    }
    todo = list(statements(script))
    for statement in todo:
        if (match := ROLE.match(statement)) and match[1] == "CREATE" and unquote(match[2]) not in existing:
            step.roles_created.append(unquote(match[2]))
        if (match := TABLESPACE.match(statement)) and unquote(match[1]) not in spaces:
            step.tablespaces_created.append(unquote(match[1]))
    journal.save()
    warnings: list[str] = []
    later: dict[str, list[str]] = {}
    grants: list[str] = []
    md5: list[str] = []
    for statement in todo:
        if match := IN_DATABASE.match(statement):
            later.setdefault(unquote(match[1]), []).append(statement)
        elif match := MEMBERSHIP.fullmatch(statement):
            grants.append(statement)
        elif _applies(statement, existing, protected, spaces):
            warnings += _apply(connection, statement)
            if match := MD5.match(statement):
                md5.append(unquote(match[1]))
    if connection.info.server_version >= 160000:
        inheriting = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles WHERE rolinherit")}
        grants = [_whole_grant(statement, inheriting) for statement in grants]
    if md5 and _asks_for_scram(connection):
        warnings.append(
            f"passwords of {', '.join(md5)} are MD5 hashes, with which nobody gets in where pg_hba.conf here says "
            "scram-sha-256: set these passwords anew, or let pg_hba.conf say md5, which takes both"
        )
    return warnings + _grant_all(connection, grants), later


def _asks_for_scram(connection: Connection) -> bool:
    """Whether pg_hba.conf does so anywhere, or can't be read."""
    import psycopg

    try:
        rows = connection.execute("SELECT 1 FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256' LIMIT 1")
        return rows.fetchone() is not None
    except psycopg.errors.InsufficientPrivilege:
        return True


def _whole_grant(statement: str, inheriting: set[str]) -> str:
    """The statement with all that goes without saying for a new membership: one that is there may be otherwise.

    `inheriting` are the roles that by themselves inherit what they are granted, which is all there was before 16.
    """
    match = MEMBERSHIP.fullmatch(statement)
    assert match is not None
    said = match["options"] or ""
    options = [said] if said else []
    if not INHERIT_OPTION.search(said):
        options.append(f"INHERIT {'TRUE' if unquote(match['member']) in inheriting else 'FALSE'}")
    if not SET_OPTION.search(said):
        options.append("SET TRUE")
    return f"{match['grant']} WITH {', '.join(options)}{match['by'] or ''}"


def _grant_all(connection: Connection, grants: list[str]) -> list[str]:
    """Memberships, in whatever order: who grants one must have got it before. Returns warnings."""
    while grants:
        refused = [statement for statement in grants if _refused(connection, statement)]
        if len(refused) == len(grants):
            break
        grants = refused
    return [warning for statement in grants for warning in _apply(connection, statement)]


def _applies(statement: str, existing: set[str], protected: set[str], spaces: set[str]) -> bool:
    if statement.startswith("SET "):
        return False
    if match := ROLE.match(statement):
        name = unquote(match[2])
        if name.startswith("pg_") or name in protected:
            return False
        return match[1] != "CREATE" or name not in existing
    if match := TABLESPACE.match(statement):
        return unquote(match[1]) not in spaces
    return True


def _apply(connection: Connection, statement: str) -> list[str]:
    refused = _refused(connection, statement)
    without = GRANTOR.sub("", statement)
    if refused and without != statement:
        refused = _refused(connection, without)
    return [refused] if refused else []


def _refused(connection: Connection, statement: str) -> str | None:
    """Runs a statement; why it was refused, in a line, or None."""
    import psycopg

    try:
        connection.execute(statement.encode("utf-8", "surrogateescape"))
        return None
    except psycopg.Error as error:
        if connection.broken:
            raise
        # Neither the statement nor the server's context: they may hold a password's hash.
        subject = " ".join(statement.split()[:3])
        return f"{subject}: {error.diag.message_primary or type(error).__name__}"


# --- the state before a restore --------------------------------------------------------------------------------------


def state(connection: Connection) -> dict[str, Any]:
    """Roles, memberships, settings and privileges on parameters as they are, for `put_back`."""
    import psycopg

    try:
        rows = connection.execute("SELECT to_jsonb(r) FROM pg_authid r WHERE rolname !~ '^pg_'").fetchall()
    except psycopg.errors.InsufficientPrivilege:
        rows = connection.execute(
            "SELECT to_jsonb(r) - 'rolpassword' FROM pg_roles r WHERE rolname !~ '^pg_'"
        ).fetchall()
    return {
        "roles": {row[0]["rolname"]: row[0] for row in rows},
        "comments": dict(
            connection.execute(
                "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles"
                " WHERE shobj_description(oid, 'pg_authid') IS NOT NULL"
            ).fetchall()
        ),
        "members": _members(connection),
        "settings": _settings(connection),
        "everybody": _settings_of_all(connection),
        "parameters": _parameters(connection),
    }


def _members(connection: Connection) -> list[list[Any]]:
    """Role, member, grantor (None where it is gone), options: {"admin": …} and from PostgreSQL 16 on more."""
    rows = connection.execute(
        "SELECT r.rolname, m.rolname, g.rolname, to_jsonb(a) FROM pg_auth_members a"
        " JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member"
        " LEFT JOIN pg_roles g ON g.oid = a.grantor ORDER BY 1, 2, 3"
    ).fetchall()
    return [
        [role, member, grantor, {key.removesuffix("_option"): facts[key] for key in facts if key.endswith("_option")}]
        for role, member, grantor, facts in rows
    ]


def _settings(connection: Connection) -> dict[str, list[str]]:
    rows = connection.execute(
        "SELECT r.rolname, s.setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole"
        " WHERE s.setdatabase = 0"
    ).fetchall()
    return dict(rows)


def _settings_of_all(connection: Connection) -> list[str]:
    rows = connection.execute("SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = 0 AND setrole = 0")
    return [setting for row in rows for setting in row[0]]


def settings_of_all(connection: Connection) -> list[str]:
    """The statements that set what ALTER ROLE ALL has set."""
    return [f"ALTER ROLE ALL SET {_assignment(setting)}" for setting in _settings_of_all(connection)]


def _parameters(connection: Connection) -> list[list[str]]:
    """Parameter, grantee, privilege: there since PostgreSQL 15."""
    if connection.info.server_version < 150000:
        return []
    rows = connection.execute(
        "SELECT p.parname, r.rolname, a.privilege_type FROM pg_parameter_acl p, aclexplode(p.paracl) a"
        " JOIN pg_roles r ON r.oid = a.grantee ORDER BY 1, 2, 3"
    ).fetchall()
    return [list(row) for row in rows]


def put_back(connection: Connection, step: ClusterStep) -> list[str]:
    """Makes roles what they were in `step.state`; those that the restore made are dropped. Returns warnings.

    `connection` is to a database in which nothing belongs to those roles (template1).
    """
    saved = step.state
    now = state(connection)
    made = [name for name in step.roles_created if name in now["roles"] and name not in saved["roles"]]
    todo: list[str] = []
    for role, member, grantor, options in now["members"]:
        if [role, member, grantor, options] not in saved["members"]:
            by = f" GRANTED BY {identifier(grantor)}" if grantor and connection.info.server_version >= 160000 else ""
            todo.append(f"REVOKE {identifier(role)} FROM {identifier(member)}{by} CASCADE")
    for parameter, grantee, privilege in now["parameters"]:
        if [parameter, grantee, privilege] not in saved["parameters"]:
            todo.append(f"REVOKE {privilege} ON PARAMETER {parameter} FROM {identifier(grantee)}")
    for name in step.tablespaces_created:
        todo.append(f"DROP TABLESPACE IF EXISTS {identifier(name)}")
    for name in made:
        todo += [f"DROP OWNED BY {identifier(name)}", f"DROP ROLE {identifier(name)}"]
    if saved.get("everybody", now["everybody"]) != now["everybody"]:
        todo.append("ALTER ROLE ALL RESET ALL")
        todo += [f"ALTER ROLE ALL SET {_assignment(setting)}" for setting in saved["everybody"]]
    for name, attributes in saved["roles"].items():
        todo += _role_as_before(name, attributes, now, saved)
    warnings: list[str] = []
    for statement in todo:
        warnings += _apply(connection, statement)
    # Looked at again: what was taken from somebody was taken from those to whom they had granted it, too.
    there = _members(connection)
    version = connection.info.server_version
    grants = [
        _grant(role, member, grantor, options, version)
        for role, member, grantor, options in saved["members"]
        if [role, member, grantor, options] not in there
    ]
    return warnings + _grant_all(connection, grants)


def _role_as_before(name: str, attributes: dict[str, Any], now: dict[str, Any], saved: dict[str, Any]) -> list[str]:
    role, todo = identifier(name), []
    if name not in now["roles"]:
        todo.append(f"CREATE ROLE {role}")
    compared = [key for key in attributes if key not in ("oid", "rolconfig")]
    if name not in now["roles"] or any(attributes[key] != now["roles"][name].get(key) for key in compared):
        words = [word if attributes[flag] else f"NO{word}" for flag, word in FLAGS.items()]
        words.append(f"CONNECTION LIMIT {attributes['rolconnlimit']}")
        if attributes["rolvaliduntil"] != now["roles"].get(name, {}).get("rolvaliduntil"):
            words.append(f"VALID UNTIL {literal(attributes['rolvaliduntil'] or 'infinity')}")
        if "rolpassword" in attributes:
            password = attributes["rolpassword"]
            words.append(f"PASSWORD {'NULL' if password is None else literal(password)}")
        todo.append(f"ALTER ROLE {role} WITH {' '.join(words)}")
    if now["settings"].get(name) != saved["settings"].get(name):
        todo.append(f"ALTER ROLE {role} RESET ALL")
        for setting in saved["settings"].get(name, ()):
            todo.append(f"ALTER ROLE {role} SET {_assignment(setting)}")
    if now["comments"].get(name) != saved["comments"].get(name):
        comment = saved["comments"].get(name)
        todo.append(f"COMMENT ON ROLE {role} IS {'NULL' if comment is None else literal(comment)}")
    return todo


def _assignment(setting: str) -> str:
    """`name=value`, as it is kept, for SET."""
    key, _, value = setting.partition("=")
    # These are lists of identifiers, kept as they were written; quoted as one string they would be one name.
    lists = ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries")
    if key.lower() in lists:
        value = ", ".join(literal(unquote(part)) for part in LISTED.findall(value)) or "''"
    else:
        value = literal(value)
    return f"{identifier(key)} TO {value}"


def _grant(role: str, member: str, grantor: str | None, options: dict[str, bool], version: int) -> str:
    if version >= 160000:
        words = ", ".join(f"{key.upper()} {'TRUE' if value else 'FALSE'}" for key, value in options.items())
        with_options = f" WITH {words}"
    else:
        with_options = " WITH ADMIN OPTION" if options.get("admin") else ""
    by = f" GRANTED BY {identifier(grantor)}" if grantor else ""
    return f"GRANT {identifier(role)} TO {identifier(member)}{with_options}{by}"
