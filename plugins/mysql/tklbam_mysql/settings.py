"""How a server is reached: what the administrator says, what the client configuration says, what is usual on Debian."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tklbam_core.api import ConfigError

SOCKETS = ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")
CLIENT_FILES = ("/etc/my.cnf", "/etc/mysql/my.cnf")
CLIENT_SECTIONS = ("client", "client-server", "client-mariadb")
DEBIAN_FILE = "/etc/mysql/debian.cnf"
DATA_DIRECTORY = "/var/lib/mysql"
OPTIONS = frozenset(
    ["host", "port", "user", "socket", "password-file", "defaults-file", "ssl-ca", "ssl-cert", "ssl-key"]
) | frozenset(["lock-tables", "lock-timeout", "jobs"])
"""The keys of `database-option mysql:KEY=VALUE`."""
MOST_JOBS = 16
MOST_SECONDS = 86400
LOCK_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Settings:
    """One way to reach and enter a server. `origin` says in words where it comes from."""

    origin: str
    host: str = ""
    port: int = 0
    socket: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    ssl: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """Where the server is, for people."""
        if self.host:
            return f"{self.host}:{self.port or 3306}"
        return self.socket or f"127.0.0.1:{self.port or 3306}"

    def option_file(self) -> str:
        """The `[client]` section that makes the vendor's clients do the same; holds the password."""
        lines = ["[client]"]
        values: list[tuple[str, str]] = [("user", self.user), ("password", self.password)]
        if self.host or not self.socket:
            values += [("host", self.host or "127.0.0.1"), ("port", str(self.port or 3306)), ("protocol", "tcp")]
        else:
            values += [("socket", self.socket), ("protocol", "socket")]
        lines += [f"{key}={quote_option(value)}" for key, value in [*values, *self.ssl]]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class DumpOptions:
    """How rows are read: whether tables without snapshots are locked (auto, yes, no); how many programs read at once,
    0 for as many as this machine and the server allow without anybody noticing; seconds to wait for a locked table."""

    lock_tables: str = "auto"
    jobs: int = 0
    lock_timeout: int = LOCK_TIMEOUT


def dump_options(options: Mapping[str, str]) -> DumpOptions:
    """Raises ConfigError for a value that means nothing."""
    lock_tables = options.get("lock-tables", "auto")
    if lock_tables not in ("auto", "yes", "no"):
        raise ConfigError(f"mysql:lock-tables is {lock_tables!r}", "It can be auto, yes or no.")
    jobs = _number(options, "jobs", MOST_JOBS)
    return DumpOptions(lock_tables, jobs or 0, _number(options, "lock-timeout", MOST_SECONDS) or LOCK_TIMEOUT)


def _number(options: Mapping[str, str], key: str, most: int) -> int | None:
    if key not in options:
        return None
    value = options[key]
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= most):
        raise ConfigError(f"mysql:{key} is {value!r}", f"Give a number from 1 to {most}.")
    return int(value)


def quote_option(value: str) -> str:
    """A value of an option file, quoted so that `#`, quotes, blanks and backslashes stay what they are."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def is_explicit(options: Mapping[str, str]) -> bool:
    """Whether the administrator named a server."""
    return any(options.get(key) for key in ("host", "port", "socket", "defaults-file"))


def is_installed() -> bool:
    """Whether this host has a server: its program, a data directory with system tables, or a socket."""
    programs = any(
        shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/usr/libexec")
        for name in ("mariadbd", "mysqld")
    )
    return programs or os.path.isdir(DATA_DIRECTORY + "/mysql") or any(os.path.exists(path) for path in SOCKETS)


def candidates(options: Mapping[str, str]) -> Iterator[Settings]:
    """Ways to reach the server, best first. Options of the administrator's win over every file's.

    Raises ConfigError for an unknown option or an unreadable file.
    """
    unknown = sorted(set(options) - OPTIONS - {"password"})
    if unknown:
        raise ConfigError(
            f"unknown option mysql:{unknown[0]}",
            f"Known are {', '.join(sorted(OPTIONS))} (database-option mysql:KEY=…).",
        )
    dump_options(options)
    said = _from_options(options)
    if said is not None:
        yield said
        return
    configured = [*CLIENT_FILES, os.path.expanduser("~/.my.cnf")]
    client = _merge({}, *(read_option_file(path) for path in configured))
    if client.get("user") or client.get("password"):
        yield _settings("the client configuration (my.cnf)", client)
    debian = read_option_file(DEBIAN_FILE)
    if debian.get("user"):
        yield _settings(DEBIAN_FILE, debian)
    place = {key: value for key, value in client.items() if key not in ("user", "password")}
    yield _settings("the system account", place)


def _from_options(options: Mapping[str, str]) -> Settings | None:
    merged: dict[str, str] = {}
    if options.get("defaults-file"):
        path = options["defaults-file"]
        if not os.access(path, os.R_OK):
            raise ConfigError(f"mysql:defaults-file {path} can't be read", "Name a readable option file.")
        merged.update(read_option_file(path))
    merged.update({key: value for key, value in options.items() if key not in ("password-file", "defaults-file")})
    if options.get("password-file"):
        merged["password"] = _password(options["password-file"])
    if not any(merged.get(key) for key in ("host", "socket", "port", "user", "password")):
        return None
    return _settings("the options given", merged)


def _password(path: str) -> str:
    try:
        return Path(path).read_text().split("\n", 1)[0]
    except OSError as error:
        raise ConfigError(
            f"mysql:password-file {path} can't be read: {error.strerror}", "Its first line is used."
        ) from error


def _settings(origin: str, values: Mapping[str, str]) -> Settings:
    port = values.get("port") or "0"
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"mysql:port {port!r} is no port", "Give a number from 1 to 65535.")
    host = values.get("host", "")
    socket = values.get("socket", "")
    if host in ("localhost", ""):
        # As the vendor's clients do: localhost means the socket, unless a port alone was named.
        host = "" if not int(port) or socket or values.get("host") == "localhost" else "127.0.0.1"
        socket = socket or ("" if host else next((path for path in SOCKETS if os.path.exists(path)), ""))
    else:
        socket = ""
    ssl = tuple((key, values[key]) for key in ("ssl-ca", "ssl-cert", "ssl-key") if values.get(key))
    made = Settings(
        origin=origin,
        host=host,
        port=int(port),
        socket=socket,
        user=values.get("user", ""),
        password=values.get("password", ""),
        ssl=ssl,
    )
    return made if made.user else replace(made, user="root" if os.geteuid() == 0 else _own_name())


def _own_name() -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return ""


def read_option_file(path: str, sections: tuple[str, ...] = CLIENT_SECTIONS) -> dict[str, str]:
    """The client options of a MySQL option file, `!include` and `!includedir` followed; {} when it can't be read."""
    values: dict[str, str] = {}
    section = ""
    try:
        lines = Path(path).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return values
    for raw in lines:
        line = raw.strip()
        if line.startswith("!includedir"):
            for included in sorted(glob.glob(glob.escape(line[11:].strip()) + "/*.cnf")):
                values.update(read_option_file(included, sections))
        elif line.startswith("!include"):
            values.update(read_option_file(line[8:].strip(), sections))
        elif line.startswith("["):
            section = line.strip("[]").strip()
        elif line and line[0] not in "#;" and section in sections:
            key, _, value = line.partition("=")
            values[key.strip().replace("_", "-")] = _unquote_option(value.strip())
    return values


def _unquote_option(value: str) -> str:
    if len(value) >= 2 and value[0] in "\"'" and value[-1] == value[0]:
        value = value[1:-1]
    else:
        value = value.split(" #", 1)[0].rstrip()
    if "\\" not in value:
        return value
    out, at = [], 0
    escapes = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " ", '"': '"', "'": "'"}
    while at < len(value):
        if value[at] == "\\" and at + 1 < len(value) and value[at + 1] in escapes:
            out.append(escapes[value[at + 1]])
            at += 2
        else:
            out.append(value[at])
            at += 1
    return "".join(out)


def _merge(into: dict[str, str], *others: Mapping[str, str]) -> dict[str, str]:
    for other in others:
        into.update(other)
    return into
