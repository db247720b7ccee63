"""Users, roles and their privileges as statements, out of a server and into one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tklbam_core.api import DatabaseFailure

from .connection import Error, Server, Session, code, reason
from .layout import AccountEntry
from .names import literal, quote
from .objects import execute_oracle

ADMINISTRATIVE = frozenset(
    {
        "root",
        "mysql",
        "mariadb.sys",
        "debian-sys-maint",
        "mysql.sys",
        "mysql.session",
        "mysql.infoschema",
        "healthcheck",
    }
)
"""User names that are always the server's own: a restore neither replaces nor removes them."""
PUBLIC = quote("PUBLIC")
NOT_THERE = frozenset({1146, 1305, 1054, 1049, 1133, 1959})
LITERAL = r"'(?:[^'\\]|\\.|'')*'"
_IDENTITY = re.compile(rf" IDENTIFIED (?:BY PASSWORD {LITERAL}|VIA \w+(?: USING {LITERAL}| OR \w+)*)")
_PRIVILEGE = r"[A-Z_]+(?: [A-Z_]+)*(?: \(`(?:[^`]|``)*`(?:, `(?:[^`]|``)*`)*\))?"
_SEVERAL = re.compile(rf"GRANT ({_PRIVILEGE}(?:, {_PRIVILEGE})+)( ON .*)", re.DOTALL)
NOT_UNDERSTOOD = 1064
_NATIVE_HASH = re.compile(r"\*[0-9A-F]{40}")
_ROLE = r"`(?:[^`]|``)*`(?:@`(?:[^`]|``)*`)?"
_NAME = r"`(?:[^`]|``)*`@`(?:[^`]|``)*`"
_DEFAULT_ROLE = re.compile(rf" DEFAULT ROLE {_NAME}(?:, ?{_NAME})*(?= REQUIRE )")


def account_name(user: str, host: str, role: bool) -> str:
    return quote(user) if role else f"{quote(user)}@{quote(host)}"


def user_of(account: str) -> str:
    """The user name of an account as it is written in the format."""
    match = re.match(r"`((?:[^`]|``)*)`", account)
    return match.group(1).replace("``", "`") if match else account


def is_administrative(account: str) -> bool:
    return user_of(account) in ADMINISTRATIVE


def read_accounts(session: Session, server: Server) -> tuple[list[AccountEntry], list[DatabaseFailure]]:
    """All accounts, by name, and those that could not be read. Raises `pymysql.err.Error` where none can be."""
    if server.is_mariadb:
        rows = session.texts(
            "SELECT User, Host, is_role, ssl_cipher, x509_issuer, x509_subject FROM mysql.user ORDER BY 3, 1, 2"
        )
    else:
        session.execute("SET print_identified_with_as_hex=1" if server.version >= (8, 0, 17) else "DO 0")
        rows = [(*row, "N") for row in session.texts("SELECT User, Host FROM mysql.user ORDER BY 1, 2")]
    entries, failures = [], []
    for user, host, is_role, *required in rows:
        role = is_role == "Y"
        name = account_name(user or "", host or "", role)
        try:
            statements = [_requoted(each, required) for each in _statements(session, server, name, role)]
            entries.append(AccountEntry(name, role, statements))
        except Error as error:
            failures.append(DatabaseFailure(database="mysql", reason=f"account {name}: {reason(error)}"))
    return sorted(entries, key=lambda entry: (not entry.role, entry.account)), failures


def _statements(session: Session, server: Server, name: str, role: bool) -> list[str]:
    if name == PUBLIC and role:
        created = []
    elif role:
        created = [f"CREATE ROLE {name}"]
    else:
        created = [str(row[0]) for row in session.texts(f"SHOW CREATE USER {name}")][:1]
        # MySQL names roles that may not be there yet, nor be granted; they have a statement of their own.
        created = [_DEFAULT_ROLE.sub("", each, count=1) for each in created]
    grants = [str(row[0]) for row in session.texts(f"SHOW GRANTS FOR {name}")]
    grants = [without_identity(grant) for grant in grants]
    if role:
        # A role's grants are listed with those of the roles it holds; each has its own entry.
        grants = [grant for grant in grants if re.search(rf" TO {re.escape(_as_shown(name))}(?: |$)", grant)]
    if not server.is_mariadb and server.version >= (8,):
        grants += [statement for holder, statement in _default_roles(session) if holder == name]
    return created + grants


def _requoted(statement: str, required: Sequence[str | None]) -> str:
    """MariaDB prints what a certificate must say without escaping a quote in it."""
    for word, value in zip(("CIPHER", "ISSUER", "SUBJECT"), required, strict=False):
        if value:
            statement = statement.replace(f" {word} '{value}'", f" {word} {literal(value)}", 1)
    return statement


def _as_shown(role: str) -> str:
    """How SHOW GRANTS writes a role: everyone without quotes."""
    return "PUBLIC" if role == PUBLIC else role


@dataclass(slots=True)
class Applied:
    """What became of the accounts."""

    made: int = 0
    kept: list[str] = field(default_factory=list)
    failures: list[DatabaseFailure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def wanted(entries: Iterable[AccountEntry], own: str) -> list[AccountEntry]:
    """Those that a restore may touch: neither administrative ones nor the one it runs as."""
    return [entry for entry in entries if not is_administrative(entry.account) and entry.account != own]


def current_account(session: Session) -> str:
    """The account this session runs as, as it is written in the format."""
    user, _, host = str(session.value("SELECT CURRENT_USER()")).rpartition("@")
    return account_name(user, host, False)


def apply_accounts(
    session: Session, server: Server, entries: list[AccountEntry], missing_is_fine: bool,
    before: Sequence[AccountEntry] = (),
) -> Applied:  # fmt: skip
    """Makes each account exactly what its statements say: an existing one of the name is replaced.

    One that can't be made is what it is in `before` again.
    A privilege on a table, column or routine that is not on this server is a warning with `missing_is_fine` (limits
    left it out), else a failure.
    """
    applied = Applied()
    made = []
    known = {entry.account: entry for entry in before}
    held = _held_roles(session, server, {entry.account for entry in entries})
    for entry in entries:
        try:
            if entry.account == PUBLIC:
                _empty_role(session, PUBLIC)
            else:
                _create(session, server, entry)
            made.append(entry)
        except Error as error:
            why = reason(error)
            if entry.account in known:
                try:
                    _create(session, server, known[entry.account])
                    made.append(known[entry.account])
                except Error as worse:
                    why += f"; nor can the one that was here be made again: {reason(worse)}"
            applied.failures.append(DatabaseFailure(database="mysql", reason=f"account {entry.account}: {why}"))
    for entry in made:
        for statement in entry.statements:
            if statement.startswith(("CREATE USER", "CREATE ROLE")):
                continue
            failed = _run(session, statement)
            for part, why_not in failed:
                what = f"account {entry.account}: {_without_secrets(part)}: {reason(why_not)}"
                if code(why_not) in NOT_THERE and missing_is_fine:
                    applied.warnings.append(what)
                else:
                    applied.failures.append(DatabaseFailure(database="mysql", reason=what))
            if failed and statement.startswith("REVOKE "):
                # What was granted to all databases but one would be granted to all.
                session.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {entry.account}")
                break
    for statement in held:
        session.execute(statement)
    applied.made = len(made)
    session.execute("FLUSH PRIVILEGES")
    return applied


def _run(session: Session, statement: str) -> list[tuple[str, Error]]:
    """Runs it, one privilege after the other where the server does not know all that it grants; returns what failed."""
    try:
        if " ON PACKAGE " in statement:
            execute_oracle(session, statement)
        else:
            session.execute(statement)
    except Error as error:
        several = _SEVERAL.fullmatch(statement) if code(error) == NOT_UNDERSTOOD else None
        if several is None:
            return [(statement, error)]
        single = [f"GRANT {each}{several.group(2)}" for each in re.findall(_PRIVILEGE, several.group(1))]
        return [failure for each in single for failure in _run(session, each)]
    return []


def without_identity(statement: str) -> str:
    """A GRANT statement that does not say again how the account signs in, which would end that its password expired."""
    return _IDENTITY.sub("", statement, count=1) if statement.startswith("GRANT ") else statement


def _held_roles(session: Session, server: Server, going: set[str]) -> list[str]:
    """Grants of roles that go, to accounts that don't: MySQL forgets them with the role, which is an account, too."""
    if server.is_mariadb or server.version < (8,):
        return []
    statements = []
    for user, host, to_user, to_host, option in session.texts(
        "SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST, WITH_ADMIN_OPTION FROM mysql.role_edges ORDER BY 1, 2, 3, 4"
    ):
        role, holder = account_name(str(user), str(host), False), account_name(str(to_user), str(to_host), False)
        if role in going and holder not in going:
            statements.append(f"GRANT {role} TO {holder}" + (" WITH ADMIN OPTION" if option == "Y" else ""))
    return statements + [
        statement
        for holder, statement in _default_roles(session)
        if holder not in going and any(f" TO {holder}" in each for each in statements)
    ]


def _default_roles(session: Session) -> list[tuple[str, str]]:
    """MySQL's accounts that have default roles, and the statements that give them those."""
    roles: dict[str, list[str]] = {}
    for user, host, role_user, role_host in session.texts(
        "SELECT USER, HOST, DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles ORDER BY 1, 2, 3, 4"
    ):
        holder = account_name(str(user), str(host), False)
        roles.setdefault(holder, []).append(account_name(str(role_user), str(role_host), False))
    return [(holder, f"ALTER USER {holder} DEFAULT ROLE {', '.join(names)}") for holder, names in roles.items()]


def second_passwords(session: Session, server: Server) -> list[str]:
    """MySQL's accounts with an old password that is still good, which no statement can give again."""
    if server.is_mariadb or server.version < (8, 0, 14):
        return []
    rows = session.texts(
        "SELECT User, Host FROM mysql.user WHERE JSON_CONTAINS_PATH(User_attributes, 'one', '$.additional_password')"
    )
    return [account_name(str(user), str(host), False) for user, host in rows]


def _create(session: Session, server: Server, entry: AccountEntry) -> None:
    create = next((each for each in entry.statements if each.startswith(("CREATE USER", "CREATE ROLE"))), "")
    create = create or f"CREATE {'ROLE' if entry.role else 'USER'} {entry.account}"
    if entry.role:
        # Dropping a role would take it from everyone who has it, so it is emptied.
        session.execute(create.replace("CREATE ROLE", "CREATE ROLE IF NOT EXISTS", 1))
        _empty_role(session, entry.account)
    else:
        drop_account(session, entry.account, entry.role)
        session.execute(create)


def _empty_role(session: Session, role: str) -> None:
    shown = _as_shown(role)
    grants = [str(grant) for (grant,) in session.texts(f"SHOW GRANTS FOR {shown}")]
    for grant in grants:
        held = re.match(rf"GRANT ((?:{_ROLE},?)+) TO {re.escape(shown)}(?:@`%`)?(?: |$)", grant)
        if held:
            session.execute(f"REVOKE {held.group(1)} FROM {shown}")
    if grants or role != PUBLIC:  # everyone is no role on a server where nothing was ever granted to everyone
        session.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {shown}")


def drop_account(session: Session, account: str, role: bool) -> None:
    if account == PUBLIC:
        _empty_role(session, PUBLIC)
    else:
        session.execute(f"DROP {'ROLE' if role else 'USER'} IF EXISTS {account}")


def _without_secrets(statement: str) -> str:
    short = re.sub(r" (IDENTIFIED|REQUIRE) .*", " …", statement)
    return _NATIVE_HASH.sub("*…", short)


def put_accounts_back(
    session: Session, server: Server, before: list[AccountEntry], touched: list[tuple[str, bool]]
) -> list[DatabaseFailure]:
    """Makes the touched accounts what they were: those of `before` as they are there, others gone."""
    known = {entry.account for entry in before}
    failures = []
    for account, role in touched:
        if account not in known:
            try:
                drop_account(session, account, role)
            except Error as error:
                failures.append(DatabaseFailure(database="mysql", reason=f"account {account}: {reason(error)}"))
    names = {account for account, _ in touched}
    applied = apply_accounts(session, server, [entry for entry in before if entry.account in names], False)
    return failures + applied.failures


def weak_passwords(entries: Iterable[AccountEntry]) -> list[str]:
    """Warnings about password hashes that newer servers take no longer, or that anyone could break."""
    found = []
    for entry in entries:
        create = " ".join(entry.statements[:1])
        if "before MySQL 4.1" in create:
            found.append(
                f"account {entry.account} had a password in the format of before MySQL 4.1, which servers take no "
                "longer: it is locked; give it a new one (ALTER USER … IDENTIFIED BY …) and ALTER USER … ACCOUNT UNLOCK"
            )
        elif "mysql_old_password" in create or re.search(r"PASSWORD '[0-9a-f]{16}'", create):
            found.append(
                f"account {entry.account} has a password in the format of before MySQL 4.1, which is easily broken and "
                "which newer servers and clients refuse: set a new one"
            )
    return found
