"""What another make or version of server says in its own words, put so that the one at hand understands it.

Only what means the same, or all but the same, is put in other words, and a note says so. The rest is sent as it is,
for the server to refuse.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from functools import partial

from .accounts import LITERAL, without_identity
from .catalogue import Stored
from .connection import GONE, Error, Server, Session, code
from .layout import AccountEntry
from .plan import DatabasePlan

_COLLATE = re.compile(r"(\bCOLLATE[ =]`?)(\w+)", re.IGNORECASE)
_OLD_DEFAULT = re.compile(r"\bCHARACTER SET (utf8mb4|utf8mb3|utf8)\b(?! COLLATE)")
"""In CREATE DATABASE: servers that have another default name the collation, too."""
_UCA9 = re.compile(r"utf8mb4_0900_(?:(bin)|(a[is]_c[is]))")
_UCA14 = re.compile(r"(utf8mb[34]|utf8)_uca1400_(nopad_)?(a[is]_c[is])")
_SINCE_8 = re.compile(r" ?/\*![89]\d{4} (.*?) ?\*/")
_BARE_TIMESTAMP = re.compile(r"^  `(?:[^`]|``)*` timestamp(?:\(\d\))? NOT NULL(?!(?: INVISIBLE)? DEFAULT)", re.M)
_MEANS_NOTHING = re.compile(r"(?:DEFAULT )?ENCRYPTION='N'")
_DATABASE_COMMENT = re.compile(rf" COMMENT {LITERAL}")
_MODES_GONE = frozenset({"NO_AUTO_CREATE_USER", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS"})
"""Modes that MySQL 8 knows no longer, without which nothing stored means anything else."""
_NEVER_MARIADB = frozenset({"TIME_TRUNCATE_FRACTIONAL"})
"""What MariaDB does anyway."""

_TABLESPACE = re.compile(r" /\*!50100 TABLESPACE `((?:[^`]|``)+)` \*/| TABLESPACE = `((?:[^`]|``)+)`(?= ENGINE)")
_BY_PASSWORD = re.compile(rf" IDENTIFIED BY PASSWORD ({LITERAL})")
_VIA = re.compile(rf" IDENTIFIED VIA (\w+(?: USING {LITERAL})?)((?: OR \w+(?: USING {LITERAL})?)*)")
_WITH = re.compile(rf" IDENTIFIED WITH '(\w+)'(?: AS ({LITERAL}|0x[0-9A-Fa-f]+))?")
_MYSQL_OPTION = re.compile(
    r" (PASSWORD HISTORY (?:DEFAULT|\d+)|PASSWORD REUSE INTERVAL (?:DEFAULT|\d+ DAY)"
    r"|PASSWORD REQUIRE CURRENT(?: DEFAULT| OPTIONAL)?|FAILED_LOGIN_ATTEMPTS \d+|PASSWORD_LOCK_TIME (?:\d+|UNBOUNDED)"
    rf"|(?:ATTRIBUTE|COMMENT) {LITERAL})"
)
_DYNAMIC = re.compile(r"GRANT ((?:[A-Z]+_[A-Z_]+,?)+) ON \*\.\* TO ")
_ROLE_RIGHTS = re.compile(r"(?:, (?:CREATE|DROP) ROLE)+(?=,| ON)")
_GLOBAL = re.compile(r"GRANT ([A-Z_ ]+(?:, [A-Z_ ]+)*) ON (?=\*\.\* TO )")
SPLIT = (
    ((10, 5), "REPLICATION SLAVE", ("SLAVE MONITOR",)),
    ((10, 5), "REPLICATION CLIENT", ("SLAVE MONITOR",)),
    ((10, 11), "SUPER", ("READ_ONLY ADMIN",)),
    (
        (11, 0),
        "SUPER",
        (
            *("BINLOG MONITOR", "SET USER", "FEDERATED ADMIN", "CONNECTION ADMIN", "REPLICATION SLAVE ADMIN"),
            *("REPLICATION MASTER ADMIN", "BINLOG ADMIN", "BINLOG REPLAY", "SLAVE MONITOR"),
        ),
    ),
)
"""Since which MariaDB a privilege allows no longer what others do."""
SAME_METHOD = {"unix_socket": "auth_socket", "auth_socket": "unix_socket"}


class NotCarriedError(Exception):
    """An account can't be had on this server; says why."""


def adapt(session: Session, server: Server, plans: Sequence[DatabasePlan]) -> None:
    """Puts what these plans say in the server's words; what that changes is in their `notes`."""
    words = _Words(session, server)
    for plan in plans:
        words.adapt(plan)


class _Words:
    """One server's words."""

    def __init__(self, session: Session, server: Server) -> None:
        self._session = session
        self._server = server
        self._collations: dict[str, str] = {}
        self._taken: dict[str, str] = {}
        self._tablespaces: frozenset[str] | None = None
        fixed = server.is_mariadb and server.version < (10, 8)  # newer ones do as the session says
        self._gives_defaults = fixed and not session.value("SELECT @@explicit_defaults_for_timestamp")

    def adapt(self, plan: DatabasePlan) -> None:
        self._taken = {}
        plan.statement = _OLD_DEFAULT.sub(r"\g<0> COLLATE \1_general_ci", self._collated(plan.statement))
        if not self._server.is_mariadb and (comment := _DATABASE_COMMENT.search(plan.statement)):
            plan.statement = plan.statement.replace(comment.group(), "")
            plan.notes.append(f"MySQL keeps no comments of databases:{comment.group()}")
        for table in plan.tables:
            table.statement, lost = self._table(self._collated(table.statement))
            if lost:
                plan.notes.append(f"table {table.name}: this server does not know {', '.join(lost)}")
            for trigger in table.triggers:
                self._stored(trigger)
        for stored in [*plan.views, *plan.routines, *plan.events]:
            self._stored(stored)
        plan.notes += [
            f"collation {old} is not known here; {new} takes its place, which differs in rare characters"
            for old, new in sorted(self._taken.items())
        ]

    def _table(self, statement: str) -> tuple[str, list[str]]:
        lost: set[str] = set()
        if not self._server.is_mariadb:
            put = re.sub(r"^(  (?:\w+ )*KEY .*) IGNORED(,?)$", r"\1 INVISIBLE\2", statement, flags=re.MULTILINE)
            return _TABLESPACE.sub(partial(self._tablespace, lost), put), sorted(lost)
        if self._gives_defaults and _BARE_TIMESTAMP.search(statement):
            # Else the first one would change with its row.
            statement = _BARE_TIMESTAMP.sub(r"\g<0> DEFAULT '0000-00-00 00:00:00'", statement)
            lost.add("a TIMESTAMP without a default (explicit_defaults_for_timestamp is off)")

        # MariaDB passes over what MySQL has had since version 8, silently.
        def said(match: re.Match[str]) -> str:
            what = match.group(1)
            of_column = statement.startswith("  `", statement.rfind("\n", 0, match.start()) + 1)
            if what == "INVISIBLE" and (of_column or self._server.version >= (10, 6)):
                return " INVISIBLE" if of_column else " IGNORED"
            if not _MEANS_NOTHING.fullmatch(what):
                lost.add(what)
            return match.group()

        return _SINCE_8.sub(said, statement), sorted(lost)

    def _tablespace(self, lost: set[str], match: re.Match[str]) -> str:
        name = (match.group(1) or match.group(2)).replace("``", "`")
        if name in ("innodb_system", "innodb_file_per_table"):
            return match.group()
        if self._tablespaces is None:
            rows = self._session.texts("SELECT TABLESPACE_NAME FROM information_schema.FILES")
            self._tablespaces = frozenset(str(each) for (each,) in rows)
        if name in self._tablespaces:
            return match.group()
        lost.add(f"the tablespace {name}")
        return ""

    def _stored(self, stored: Stored) -> None:
        stored.statement = self._collated(stored.statement)
        for key in ("collation_connection", "database_collation"):
            if stored.settings.get(key):
                stored.settings[key] = self._collation(stored.settings[key])
        modes = stored.settings.get("sql_mode", "")
        unknown = _NEVER_MARIADB if self._server.is_mariadb else _MODES_GONE if self._server.version >= (8,) else ()
        if modes:
            stored.settings["sql_mode"] = ",".join(mode for mode in modes.split(",") if mode not in unknown)

    def _collated(self, statement: str) -> str:
        return _COLLATE.sub(lambda match: match.group(1) + self._collation(match.group(2)), statement)

    def _collation(self, name: str) -> str:
        if name not in self._collations:
            found = (each for near in (name, *_nearest(name)) for each in _spellings(near) if self._knows(each))
            self._collations[name] = next(found, name)
        if self._collations[name] not in _spellings(name):
            self._taken[name] = self._collations[name]
        return self._collations[name]

    def _knows(self, collation: str) -> bool:
        try:
            self._session.rows(f"SELECT CONVERT('' USING {collation.split('_', 1)[0]}) COLLATE {collation}")
        except Error as error:
            if code(error) in GONE:
                raise
            return False
        return True


def _spellings(collation: str) -> tuple[str, ...]:
    """One collation's names: what is utf8mb3 was called utf8, and is so alone on servers before MariaDB 10.6."""
    charset, _, rest = collation.partition("_")
    other = {"utf8": "utf8mb3", "utf8mb3": "utf8"}.get(charset)
    return (collation, f"{other}_{rest}") if other else (collation,)


def _nearest(name: str) -> Iterator[str]:
    """Collations that compare nearly as this one does, the nearest first (MySQL's heed blanks at the end: "nopad")."""
    nine, fourteen = _UCA9.fullmatch(name), _UCA14.fullmatch(name)
    if nine and nine.group(1):
        yield "utf8mb4_nopad_bin"
    elif nine:
        yield f"utf8mb4_uca1400_nopad_{nine.group(2)}"
        if nine.group(2) == "ai_ci":
            yield "utf8mb4_unicode_520_nopad_ci"
    elif fourteen and fourteen.group(2) is None and fourteen.group(3) == "ai_ci":
        yield f"{fourteen.group(1)}_unicode_520_ci"
    elif fourteen and fourteen.group(1) == "utf8mb4":
        yield f"utf8mb4_0900_{fourteen.group(3)}"
    elif name == "utf8mb4_nopad_bin":
        yield "utf8mb4_0900_bin"


def account(
    entry: AccountEntry, server: Server, plugins: frozenset[str], origin: tuple[int, int] | None = None
) -> tuple[AccountEntry, list[str]]:
    """An account in the server's words, and what of it the server can't keep. `plugins` are its ways to sign in.

    `origin` is the MariaDB whose privileges these are, None where that is not known. Raises NotCarriedError where
    nobody could sign in with it, or anybody.
    """
    lost: list[str] = []
    put = _for_mariadb if server.is_mariadb else _for_mysql
    statements = [
        put(_split(without_identity(each), server, origin), server, plugins, lost) for each in entry.statements
    ]
    return dataclasses.replace(entry, statements=[each for each in statements if each]), lost


def _split(statement: str, server: Server, origin: tuple[int, int] | None) -> str:
    """A grant with all that its privileges allowed on the server it comes from, as an upgrade in place gives it."""
    granted = _GLOBAL.match(statement)
    if granted is None or origin is None or not server.is_mariadb:
        return statement
    privileges = granted.group(1).split(", ")
    for since, privilege, parts in SPLIT:
        if privilege in privileges and origin < since <= server.version[:2]:
            privileges += [part for part in parts if part not in privileges]
    return f"GRANT {', '.join(privileges)} ON {statement[granted.end() :]}"


def _for_mysql(statement: str, server: Server, plugins: frozenset[str], lost: list[str]) -> str:
    if server.version < (8,):
        return statement
    if statement.startswith("SET DEFAULT ROLE "):
        return re.sub(r" FOR (?=`(?:[^`]|``)*`@`(?:[^`]|``)*`$)", " TO ", statement)
    by_password, via = _BY_PASSWORD.search(statement), _VIA.search(statement)
    if via:
        method, *said = via.group(1).split(" USING ", 1)
        if via.group(2) or SAME_METHOD.get(method, method) not in plugins:
            methods = re.sub(rf" USING {LITERAL}", "", via.group()).removeprefix(" IDENTIFIED VIA ")
            raise NotCarriedError(f"it signs in by {methods}")
        with_ = f" IDENTIFIED WITH {SAME_METHOD.get(method, method)}" + "".join(f" AS {each}" for each in said)
        return statement.replace(via.group(), with_, 1)
    if by_password:
        if "mysql_native_password" not in plugins:
            raise NotCarriedError("it signs in by mysql_native_password")
        with_ = f" IDENTIFIED WITH mysql_native_password AS {by_password.group(1)}"
        return statement.replace(by_password.group(), with_, 1)
    return statement


def _for_mariadb(statement: str, server: Server, plugins: frozenset[str], lost: list[str]) -> str:
    if statement.startswith("GRANT "):
        dynamic = _DYNAMIC.match(statement)
        if dynamic and "`" not in dynamic.group(1):
            lost.append(f"privileges {dynamic.group(1)}")
            return ""
        return _ROLE_RIGHTS.sub("", statement)
    with_ = _WITH.search(statement)
    if with_ is None or not statement.startswith("CREATE USER "):
        return statement
    method, said = SAME_METHOD.get(with_.group(1), with_.group(1)), with_.group(2)
    if method not in plugins:
        raise NotCarriedError(f"it signs in by {method}")
    if said and said.startswith("0x"):
        said = "'" + bytes.fromhex(said[2:]).decode("latin-1") + "'"
    head, tail = statement[: with_.start()], statement[with_.end() :]
    for option in _MYSQL_OPTION.findall(tail):
        if not option.endswith(" DEFAULT"):
            lost.append(option)
    return f"{head} IDENTIFIED VIA {method}" + (f" USING {said}" if said else "") + _MYSQL_OPTION.sub("", tail)


def ways_to_sign_in(session: Session) -> frozenset[str]:
    """The server's authentication plugins that are active."""
    rows = session.texts(
        "SELECT PLUGIN_NAME FROM information_schema.PLUGINS "
        "WHERE PLUGIN_TYPE='AUTHENTICATION' AND PLUGIN_STATUS='ACTIVE'"
    )
    return frozenset(str(name) for (name,) in rows)
