"""What the administrator says about the server: `database-option pgsql:KEY=VALUE`, read and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tklbam_core.api import ConfigError

KEYS = (
    "host",
    "port",
    "user",
    "socket",
    "password-file",
    "cluster",
    "from",
    "jobs",
    "lock-timeout",
    "locale",
    "leave-out",
)


@dataclass(frozen=True, slots=True)
class Options:
    """`host` is a name or address, `socket` a directory (or the socket in it); `cluster` a Debian cluster (`15/main`)
    to restrict the work to; `source` the cluster of the backup to restore where it holds several; `jobs` how many
    connections work at once; `lock_timeout` seconds to wait for a table that is locked; `locale` takes the place of
    every database's locale on restore; `leave_out` are objects that are not restored (`view public.v`)."""

    host: str | None = None
    port: int | None = None
    user: str | None = None
    socket: Path | None = None
    password_file: Path | None = None
    cluster: str | None = None
    source: str | None = None
    jobs: int = 1
    lock_timeout: int = 300
    locale: str | None = None
    leave_out: frozenset[str] = frozenset()

    @property
    def names_server(self) -> bool:
        """Whether a server is named, so that none need be looked for."""
        return self.host is not None or self.socket is not None or self.port is not None


def parse(words: Mapping[str, str]) -> Options:
    """Raises ConfigError for a key or value that is not known here."""
    unknown = sorted(set(words) - set(KEYS))
    if unknown:
        raise ConfigError(
            f"database-option pgsql:{unknown[0]} is not known", f"The PostgreSQL plugin knows {', '.join(KEYS)}."
        )
    host, socket = words.get("host"), words.get("socket")
    if host is not None and host.startswith("/"):
        host, socket = None, socket or host
    directory = Path(socket) if socket else None
    port = _number(words, "port", 1, 65535)
    if directory is not None and directory.name.startswith(".s.PGSQL."):
        number = directory.name.rpartition(".")[2]
        port = port or (int(number) if number.isdigit() else None)
        directory = directory.parent
    return Options(
        host=host,
        port=port,
        user=words.get("user"),
        socket=directory,
        password_file=Path(words["password-file"]) if "password-file" in words else None,
        cluster=words.get("cluster"),
        source=words.get("from"),
        jobs=_number(words, "jobs", 1, 64) or min(4, os.cpu_count() or 1),
        lock_timeout=_number(words, "lock-timeout", 1, 86400) or 300,
        locale=words.get("locale"),
        leave_out=frozenset(each.strip() for each in words.get("leave-out", "").split(";") if each.strip()),
    )


def _number(words: Mapping[str, str], key: str, least: int, most: int) -> int | None:
    if key not in words:
        return None
    value = words[key]
    if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
        raise ConfigError(f"database-option pgsql:{key}={value} is not a number from {least} to {most}")
    return int(value)
