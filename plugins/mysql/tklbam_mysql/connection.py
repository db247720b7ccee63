"""Connections to a server: found, entered, and asked; and the vendor's clients that enter the same way."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql  # type: ignore[import-untyped,unused-ignore]
from pymysql.cursors import SSCursor  # type: ignore[import-untyped,unused-ignore]
from pymysql.err import Error as Error  # type: ignore[import-untyped,unused-ignore]

from tklbam_core.api import DatabaseError, run

from . import settings as places
from .names import literal
from .settings import Settings

DENIED = frozenset({1044, 1045, 1130, 1698, 1862, 2054, 2059})
GONE = frozenset({2002, 2003, 2006, 2013, 2055, 4031, 1053, 1927, 0})


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was reached: how, and what it is. `version` is (major, minor, patch)."""

    settings: Settings
    flavour: str
    full_version: str
    version: tuple[int, int, int]

    @property
    def is_mariadb(self) -> bool:
        return self.flavour == "mariadb"

    def __str__(self) -> str:
        name = "MariaDB" if self.is_mariadb else "MySQL"
        return f"{name} {'.'.join(map(str, self.version))} at {self.settings.place}"

    def lost(self, at: str, why: str) -> DatabaseError:
        """The error that says so; `at` is what was being read, "" where that is not known."""
        where = f" while {at} was being read" if at else ""
        return DatabaseError(f"{self} went away{where}: {why}", "See the server's error log, then run again.")


class Session:
    """One connection. Errors come out as `pymysql.err.Error`; `code(error)` gives their number."""

    def __init__(self, connection: pymysql.connections.Connection[Any]) -> None:
        self.connection = connection

    def execute(self, statement: str | bytes) -> int:
        """Runs a statement without an answer; returns the number of rows it touched."""
        try:
            return int(self.connection.query(statement))
        except AttributeError as error:  # what pymysql says when the server goes away under a LOAD DATA
            raise Error(2013, "Lost connection to server during query") from error

    def stream(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of an answer of any size, as they come."""
        with self.connection.cursor(SSCursor) as cursor:
            cursor.execute(query)
            while (row := cursor.fetchone()) is not None:
                yield row

    @property
    def affected(self) -> int:
        """Rows that the last `execute` touched."""
        return int(self.connection.affected_rows())

    @property
    def warning_count(self) -> int:
        """Warnings that the last `execute` drew."""
        result = self.connection._result
        return int(result.warning_count) if result is not None else 0

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a small answer; text as str, numbers as numbers, binary as bytes."""
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def texts(self, query: str) -> list[tuple[str | None, ...]]:
        """All rows of a small answer, every value as text."""
        return [tuple(_as_text(value) for value in row) for row in self.rows(query)]

    def value(self, query: str) -> Any:
        rows = self.rows(query)
        return rows[0][0] if rows else None

    def value_at(self, query: str, column: int) -> Any:
        """The first row's value in a column counted from 0, None without a row."""
        rows = self.rows(query)
        return rows[0][column] if rows else None

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)


def code(error: BaseException) -> int:
    """The server's (or client's) error number, 0 where there is none."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def reason(error: BaseException) -> str:
    """An error in one line."""
    if len(error.args) > 1 and isinstance(error.args[1], str):
        return f"{error.args[1]} ({error.args[0]})"
    return " ".join(str(error).split()) or type(error).__name__


def connect(server: Settings, *, database: str | None = None, local_infile: bool = False, raw: bool = False) -> Session:
    """Opens a session with settings under which statements mean the same everywhere.

    `raw` gives every value as the bytes the server sent. Raises `pymysql.err.Error`.
    """
    arguments: dict[str, Any] = {
        "user": server.user,
        "password": server.password,
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": 10,
        "local_infile": local_infile,
        "database": database,
        "max_allowed_packet": 1 << 30,
        "init_command": "SET sql_mode='', time_zone='+00:00', sql_quote_show_create=1, wait_timeout=86400",
    }
    if server.host or not server.socket:
        arguments |= {"host": server.host or "127.0.0.1", "port": server.port or 3306}
    else:
        arguments["unix_socket"] = server.socket
        arguments["ssl_disabled"] = True  # nobody listens on a socket, and setting TLS up takes longer than all else
    arguments |= {key.replace("-", "_"): value for key, value in server.ssl}
    if raw:
        arguments |= {"use_unicode": False, "conv": {0: None}}
    return Session(pymysql.connect(**arguments))


def is_looked_for(options: Mapping[str, str], root: Path) -> bool:
    """Whether a server of this host may be used: another root's servers are not here, unless one was named."""
    return root == Path("/") or places.is_explicit(options)


def detect(options: Mapping[str, str], root: Path) -> Server | None:
    """The server of this host, or the one the options name; None where there is none to look for.

    Raises DatabaseError where a server is installed or named and can't be reached or entered.
    """
    if not is_looked_for(options, root):
        return None
    if not places.is_explicit(options) and not places.is_installed():
        return None
    return reach(options)


def reach(options: Mapping[str, str]) -> Server:
    """Like `detect`, for when a server is needed."""
    failures = []
    last_code = 0
    for candidate in places.candidates(options):
        try:
            with connect(candidate) as session:
                return _describe(candidate, session)
        except Error as error:
            last_code = code(error)
            failures.append(f"{candidate.user}@{candidate.place} from {candidate.origin}: {reason(error)}")
    if last_code in DENIED:
        raise DatabaseError(
            "the MySQL/MariaDB server does not let this program in: " + "; ".join(failures),
            "Name an account that may read everything: database-option mysql:user=…, mysql:password-file=….",
        )
    raise DatabaseError(
        "the MySQL/MariaDB server can't be reached: " + "; ".join(failures),
        "Start it, or say where it is: database-option mysql:host=… or mysql:socket=….",
    )


def _describe(settings: Settings, session: Session) -> Server:
    full = str(session.value("SELECT VERSION()"))
    numbers = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", full)
    version = tuple(int(part) for part in numbers.groups()) if numbers else (0, 0, 0)
    flavour = "mariadb" if "mariadb" in full.lower() else "mysql"
    return Server(settings, flavour, full, (version[0], version[1], version[2]))


@dataclass(frozen=True, slots=True)
class Client:
    """A vendor's dump program: what it is called, whose, and its version."""

    program: str
    is_mariadb: bool
    version: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.program} {self.version[0]}.{self.version[1]}"


def dump_client(server: Server) -> Client:
    """mariadb-dump or mysqldump, whichever is of the server's make. Raises DatabaseError when neither is installed."""
    found = []
    for program in ("mariadb-dump", "mysqldump"):
        if shutil.which(program):
            said = run([program, "--no-defaults", "--version"]).stdout.decode("utf-8", "replace")
            numbers = re.search(r"(?:Distrib |from |Ver )(\d+)\.(\d+)\.\d+", said)
            version = (int(numbers.group(1)), int(numbers.group(2))) if numbers else (0, 0)
            client = Client(program, "MariaDB" in said, version)
            if client.is_mariadb == server.is_mariadb:
                return client
            found.append(client)
    if found:
        return found[0]
    raise DatabaseError(
        "neither mariadb-dump nor mysqldump is installed", "Install mariadb-client (or MySQL's client programs)."
    )


@contextlib.contextmanager
def option_file(settings: Settings, extra: Sequence[str] = ()) -> Iterator[int]:
    """A file that makes a vendor's client enter as `settings` say, with more lines; yields its descriptor.

    It is in memory alone and has no name: nothing is left of a password however this process ends.
    """
    descriptor = os.memfd_create("client.cnf")
    try:
        os.fchmod(descriptor, 0o600)  # clients pass over what everybody may write to
        with open(descriptor, "w", errors="surrogateescape", closefd=False) as file:
            file.write(settings.option_file() + "".join(line + "\n" for line in extra))
        yield descriptor
    finally:
        os.close(descriptor)


def option_argument(descriptor: int) -> str:
    """The argument for a program that is passed an `option_file`."""
    return f"--defaults-file=/proc/self/fd/{descriptor}"


def set_names(session: Session, **variables: str) -> None:
    """Sets session variables to string values."""
    if not variables:
        return
    session.execute("SET " + ", ".join(f"{name}={literal(value)}" for name, value in variables.items()))
