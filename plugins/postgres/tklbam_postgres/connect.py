"""How a server is reached: as whom, with which of PostgreSQL's programs, and never with a password in argv.

As root, through a local socket, with no user named, we become the account that the server runs as: Debian's peer
authentication then lets us in as its superuser.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tklbam_core.api import CommandError, DatabaseError, run

from .clusters import Cluster
from .options import Options
from .toc import RAW

if TYPE_CHECKING:
    import psycopg

PROGRAMS = Path("/usr/lib/postgresql")
MAINTENANCE = ("postgres", "template1")
TIMEOUT = 30
APPLICATION = "tklbam"
"""What our sessions, and those of the programs we run, are called in pg_stat_activity."""

SETTINGS = (
    "default_transaction_read_only=off",
    "statement_timeout=0",
    "lock_timeout=0",
    "idle_in_transaction_session_timeout=0",
)
"""Whatever a database or role sets for its own sessions."""
LATER_SETTINGS = ((140000, "idle_session_timeout=0"), (170000, "transaction_timeout=0"))
SUPERUSER_SETTINGS = ((0, "lc_messages=C"), (170000, "event_triggers=off"))
"""Errors are read; a trigger on logins could keep us out."""
STARTING = re.compile(r"the database system is (?:starting up|in recovery mode|not (?:yet )?accepting connections)")
NO_CONVERSION = re.compile(r"conversion between UTF8 and \w+ is not supported")
STARTUP_TIMEOUT = 60.0
"""Seconds to wait for a server that is on its way: at the system's start, or after a crash."""
OURS = ("search_path=", "standard_conforming_strings=on")
"""Nobody's functions come before the server's, and a string is one, in our own sessions."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was reached once. `account` is the system account to become for it (None: stay who we are),
    `maintenance` a database that is there to connect to; `superuser_by_itself`: without a role that is set for
    `user`, too."""

    cluster: Cluster
    user: str
    account: str | None
    version: int
    identifier: str
    superuser: bool
    standby: bool = False
    maintenance: str = "postgres"
    password: str | None = field(default=None, repr=False)
    superuser_by_itself: bool = False

    @property
    def major(self) -> int:
        return self.version // 10000

    def __str__(self) -> str:
        minor = self.version % 10000
        return f"PostgreSQL {self.major}.{minor} ({self.cluster.name}) at {self.cluster.address}"

    def secrets(self) -> Mapping[str, str]:
        return {} if self.password is None else {"PGPASSWORD": self.password}

    def target(self, database: str) -> str:
        """A connection string for PostgreSQL's programs, with no password in it."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo("", host=self.cluster.host, port=self.cluster.port, user=self.user, dbname=database)

    def argv(self, program: str) -> list[str]:
        """The beginning of an argument list that runs one of PostgreSQL's programs with the right identity."""
        return [*_identity(self.account), str(find_program(program, self.major)[0])]

    def environment(self, *more: str) -> dict[str, str]:
        """What PostgreSQL's programs get to run by; `more` are further session settings (`name=value`)."""
        return {
            "LC_ALL": "C.UTF-8",
            "PGOPTIONS": _words([*self.settings(), *more]),
            "PGAPPNAME": APPLICATION,
        }

    def settings(self) -> list[str]:
        """Session settings, `name=value`, that keep dumps and restores from being cut short."""
        known = [setting for since, setting in LATER_SETTINGS if self.version >= since]
        if self.superuser:
            known += [setting for since, setting in SUPERUSER_SETTINGS if self.version >= since]
        if self.superuser_by_itself:
            known.append("role=none")
        return [*SETTINGS, *known]


def reach(cluster: Cluster, options: Options) -> Server:
    """Connects once and learns who and what is there.

    Raises DatabaseError, with the cluster's name, when it is stopped, can't be reached or does not let us in.
    """
    user, account = _identify(cluster, options)
    password = _password(options)
    draft = Server(cluster, user, account, 0, "", False, password=password)
    with connect(draft) as connection:
        row = connection.execute(
            "SELECT (SELECT system_identifier::text FROM pg_control_system()), rolsuper, pg_is_in_recovery(),"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row is not None
        identity, superuser, standby, by_itself = row
        version, there = connection.info.server_version, connection.info.dbname
        superuser |= by_itself
        return Server(cluster, user, account, version, identity, superuser, standby, there, password, by_itself)


@contextlib.contextmanager
def connect(server: Server, database: str | None = None, **settings: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection for the length of a `with` block; None is a maintenance database.

    `settings` are session settings. Raises DatabaseError, for what the server refuses within the block, too.
    """
    import psycopg

    connection = open_connection(server, database, **settings)
    try:
        yield connection
    except psycopg.Error as error:
        raise DatabaseError(one_line(error), "See the server's log.") from error
    finally:
        connection.close()


def open_connection(server: Server, database: str | None = None, **settings: str) -> psycopg.Connection[Any]:
    """As `connect`, for the caller to close."""
    import psycopg

    names = MAINTENANCE if database is None else (database,)
    refused: Exception | None = None
    for name in names:
        try:
            connection = _when_up(server, name)
        except psycopg.OperationalError as error:
            refused = refused or error
            continue
        except UnicodeError as error:
            raise DatabaseError(
                "its name has bytes that are not UTF-8, so that nobody can ask for it", "Rename it (ALTER DATABASE)."
            ) from error
        _keep_odd_names(connection)
        if connection.info.parameter_status("server_encoding") in RAW:
            # Whatever bytes are there: the server would look whether they are UTF-8.
            settings.setdefault("client_encoding", "SQL_ASCII")
        try:
            for key, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", (key, value))
        except psycopg.Error:
            connection.close()
            raise
        return connection
    raise DatabaseError(
        f"PostgreSQL cluster {server.cluster.name} at {server.cluster.address} can't be read"
        f"{'' if database is None else f' (database {database})'}: {one_line(refused)}",
        "Start it (systemctl start postgresql), or correct database-option pgsql:host, port, user, password-file."
        if database is None
        else "See the server's log.",
    ) from refused


def _when_up(server: Server, database: str) -> psycopg.Connection[Any]:
    """Waits for a server that starts. Raises psycopg.OperationalError."""
    import psycopg

    deadline = time.monotonic() + STARTUP_TIMEOUT
    encoding = "UTF8"
    while True:
        try:
            with becoming(server.account):
                return psycopg.connect(
                    host=server.cluster.host,
                    port=server.cluster.port,
                    user=server.user,
                    password=server.password,
                    dbname=database,
                    autocommit=True,
                    connect_timeout=TIMEOUT,
                    application_name=APPLICATION,
                    options=_words([*OURS, *server.settings()]),
                    client_encoding=encoding,
                )
        except psycopg.OperationalError as error:
            if encoding == "UTF8" and NO_CONVERSION.search(str(error)):
                encoding = "SQL_ASCII"  # bytes as they are
                continue
            if not STARTING.search(str(error)) or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _keep_odd_names(connection: psycopg.Connection[Any]) -> None:
    """Names may hold bytes that are not UTF-8 (databases in SQL_ASCII): they come and go as surrogates."""
    import psycopg
    from psycopg.types.json import set_json_loads
    from psycopg.types.string import StrDumperUnknown

    class Load(psycopg.adapt.Loader):
        def load(self, data: Any) -> str:
            return _text(data)

    class Dump(StrDumperUnknown):
        def dump(self, obj: str) -> bytes:
            return obj.encode("utf-8", "surrogateescape")

    for type_ in ("name", "text", "varchar"):
        connection.adapters.register_loader(type_, Load)
    connection.adapters.register_dumper(str, Dump)
    set_json_loads(lambda data: json.loads(_text(data)), connection)


def _text(data: Any) -> str:
    return bytes(data).decode("utf-8", "surrogateescape")


def _words(settings: Iterable[str]) -> str:
    return " ".join(f"-c {setting}" for setting in settings)


def one_line(error: BaseException | str | None) -> str:
    """An error of the server's or of its programs in one line."""
    return " ".join(str(error).split())


_identity_lock = threading.Lock()


@contextlib.contextmanager
def becoming(account: str | None) -> Iterator[None]:
    """For the length of the block this process's effective user is `account`: what peer authentication looks at."""
    if account is None or pwd.getpwnam(account).pw_uid == os.geteuid():
        yield
        return
    with _identity_lock:
        before = os.geteuid()
        os.seteuid(pwd.getpwnam(account).pw_uid)
        try:
            yield
        finally:
            os.seteuid(before)


def find_program(name: str, major: int) -> tuple[Path, int]:
    """PostgreSQL's program for a server of this major version, and its own: the same, else the next newer one.

    Raises DatabaseError where only older ones, or none, are installed.
    """
    versions = sorted(int(path.name) for path in PROGRAMS.glob("*") if path.name.isdigit())
    for version in versions:
        path = PROGRAMS / str(version) / "bin" / name
        if version >= major and path.exists():
            return path, version
    on_path = shutil.which(name)
    if on_path is not None:
        with contextlib.suppress(CommandError):
            match = re.search(rb"\) (\d+)", run([on_path, "--version"]).stdout)
            if match and int(match[1]) >= major:
                return Path(on_path), int(match[1])
    raise DatabaseError(
        f"{name} for PostgreSQL {major} is not installed", f"Install the package postgresql-client-{major}."
    )


def _identity(account: str | None) -> list[str]:
    if account is None or pwd.getpwnam(account).pw_uid == os.geteuid():
        return []
    return ["setpriv", f"--reuid={account}", f"--regid={pwd.getpwnam(account).pw_gid}", "--init-groups", "--"]


def _identify(cluster: Cluster, options: Options) -> tuple[str, str | None]:
    """The server's role to connect as, and the system account to become."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() != 0 or not cluster.host.startswith("/"):
        return options.user or ("postgres" if os.geteuid() == 0 else me), None
    if options.user is not None:
        try:
            pwd.getpwnam(options.user)
        except KeyError:
            return options.user, None
        return options.user, options.user
    try:
        owner = pwd.getpwuid(os.stat(f"{cluster.host}/.s.PGSQL.{cluster.port}").st_uid).pw_name
    except (FileNotFoundError, KeyError):
        return "postgres", None
    return owner, owner


def _password(options: Options) -> str | None:
    if options.password_file is None:
        return None
    try:
        lines = options.password_file.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
        raise DatabaseError(
            f"the password file {options.password_file} can't be read: {reason}",
            "Correct database-option pgsql:password-file.",
        ) from error
    return lines[0] if lines else ""
