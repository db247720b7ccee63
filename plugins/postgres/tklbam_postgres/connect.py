"""How a server is reached: as whom, with which of PostgreSQL's programs, and never with a password in argv.

As root, through a local socket, with no user named, we become the account that the server runs as: Debian's peer
authentication then lets us in as its superuser.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tklbam_core.api import CommandError, DatabaseError, run

from .clusters import Cluster
from .options import Options

if TYPE_CHECKING:
    import psycopg

PROGRAMS = Path("/usr/lib/postgresql")
MAINTENANCE = ("postgres", "template1")
TIMEOUT = 30
APPLICATION = "tklbam"
"""What our sessions, and those of the programs we run, are called in pg_stat_activity."""

SESSION = "-c search_path= -c default_transaction_read_only=off"
"""Whatever a database or role sets for its own sessions: nobody's functions come before the server's."""

ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PGOPTIONS": "-c default_transaction_read_only=off", "PGAPPNAME": APPLICATION}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was reached once. `account` is the system account to become for it (None: stay who we are)."""

    cluster: Cluster
    user: str
    account: str | None
    version: int
    identifier: str
    superuser: bool
    password: str | None = field(default=None, repr=False)

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
        return [*_identity(self.account), str(find_program(program, self.major))]


def reach(cluster: Cluster, options: Options) -> Server:
    """Connects once and learns who and what is there.

    Raises DatabaseError, with the cluster's name, when it is stopped, can't be reached or does not let us in.
    """
    user, account = _identify(cluster, options)
    password = _password(options)
    draft = Server(cluster, user, account, 0, "", False, password)
    with connect(draft) as connection:
        row = connection.execute(
            "SELECT rolsuper, (SELECT system_identifier::text FROM pg_control_system()) FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()
        assert row is not None
        return Server(cluster, user, account, connection.info.server_version, row[1], row[0], password)


@contextlib.contextmanager
def connect(server: Server, database: str | None = None, **settings: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection for the length of a `with` block; None is a maintenance database.

    `settings` are session settings. Raises DatabaseError.
    """
    connection = open_connection(server, database, **settings)
    try:
        yield connection
    finally:
        connection.close()


def open_connection(server: Server, database: str | None = None, **settings: str) -> psycopg.Connection[Any]:
    """As `connect`, for the caller to close."""
    import psycopg

    names = MAINTENANCE if database is None else (database,)
    refused: Exception | None = None
    for name in names:
        try:
            with becoming(server.account):
                connection = psycopg.connect(
                    host=server.cluster.host,
                    port=server.cluster.port,
                    user=server.user,
                    password=server.password,
                    dbname=name,
                    autocommit=True,
                    connect_timeout=TIMEOUT,
                    application_name=APPLICATION,
                    options=SESSION,
                    client_encoding="UTF8",
                )
            for key, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", (key, value))
            return connection
        except psycopg.errors.InvalidCatalogName as error:
            refused = error
        except psycopg.OperationalError as error:
            refused = error
            if "does not exist" not in str(error) or "role" in str(error):
                break
    raise DatabaseError(
        f"PostgreSQL cluster {server.cluster.name} at {server.cluster.address} can't be read"
        f"{'' if database is None else f' (database {database})'}: {one_line(refused)}",
        "Start it (systemctl start postgresql), or correct database-option pgsql:host, port, user, password-file.",
    ) from refused


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


def find_program(name: str, major: int) -> Path:
    """PostgreSQL's program for a server of this major version: its own, else the next newer one.

    Raises DatabaseError where only older ones, or none, are installed.
    """
    versions = sorted(int(path.name) for path in PROGRAMS.glob("*") if path.name.isdigit())
    for version in versions:
        path = PROGRAMS / str(version) / "bin" / name
        if version >= major and path.exists():
            return path
    on_path = shutil.which(name)
    if on_path is not None:
        with contextlib.suppress(CommandError):
            match = re.search(rb"\) (\d+)", run([on_path, "--version"]).stdout)
            if match and int(match[1]) >= major:
                return Path(on_path)
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
    except OSError as error:
        raise DatabaseError(
            f"the password file {options.password_file} can't be read: {error.strerror}",
            "Correct database-option pgsql:password-file.",
        ) from error
    return lines[0] if lines else ""
