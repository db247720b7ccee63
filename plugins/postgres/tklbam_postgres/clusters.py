"""Which PostgreSQL clusters this host has: Debian's configuration and the sockets of running servers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tklbam_core.api import DatabaseError

from .options import Options

SOCKETS = Path("run/postgresql")
DEFAULT_PORT = 5432
SETTING = re.compile(r"^\s*([a-z_]+)\s*(?:=\s*|\s)(?:'((?:[^']|'')*)'|([^\s#']+))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server's address. `name` is what people read (`15/main`), `directory` its name below pgfs.

    `host` is a socket's directory (with a leading `/`) or a host name.
    """

    name: str
    directory: str
    host: str
    port: int

    @property
    def address(self) -> str:
        return f"{self.host}/.s.PGSQL.{self.port}" if self.host.startswith("/") else f"{self.host}:{self.port}"


def find(options: Options, root: Path = Path("/")) -> list[Cluster]:
    """The clusters to work on, in name order; none where PostgreSQL is not installed.

    A server that `options` name is the only one. Raises DatabaseError where `options.cluster` is not there.
    """
    if options.names_server:
        return [_named(options)]
    if root != Path("/"):
        return []
    found = on_host(root)
    if options.cluster is not None:
        wanted = [cluster for cluster in found if cluster.name == options.cluster]
        if not wanted:
            raise DatabaseError(
                f"there is no PostgreSQL cluster {options.cluster} on this host",
                f"Correct database-option pgsql:cluster; found: {', '.join(each.name for each in found) or 'none'}.",
            )
        return wanted
    return found


def _named(options: Options) -> Cluster:
    port = options.port or DEFAULT_PORT
    host = str(options.socket) if options.socket else options.host or f"/{SOCKETS}"
    label = f"{host}:{port}" if not host.startswith("/") else f"port {port}"
    return Cluster(options.cluster or label, "server", host, port)


def on_host(root: Path) -> list[Cluster]:
    """Debian's clusters under `root`, running or not, then servers whose socket is in the standard directory."""
    found = []
    for configuration in sorted(root.glob("etc/postgresql/*/*/postgresql.conf")):
        version, name = configuration.parts[-3:-1]
        settings = _settings(configuration)
        port, place, address = _of_running(root, settings.get("data_directory")) or (
            settings.get("port", str(DEFAULT_PORT)),
            settings.get("unix_socket_directories", f"/{SOCKETS}").split(",")[0].strip(),
            settings.get("listen_addresses", "localhost").split(",")[0].strip(),
        )
        host = place.replace("/var/run/", "/run/", 1) or address
        if host in ("*", "0.0.0.0", "::"):
            host = "localhost"
        found.append(
            Cluster(f"{version}/{name}", f"{version}-{name}", host, int(port) if port.isdigit() else DEFAULT_PORT)
        )
    known = {(cluster.host, cluster.port) for cluster in found}
    for socket in sorted((root / SOCKETS).glob(".s.PGSQL.*")):
        number = socket.name.rpartition(".")[2]
        if number.isdigit() and socket.is_socket() and (f"/{SOCKETS}", int(number)) not in known:
            found.append(Cluster(f"port {number}", f"port-{number}", f"/{SOCKETS}", int(number)))
    return found


def _of_running(root: Path, data: str | None) -> tuple[str, str, str] | None:
    """Port, socket's directory and address as the server itself has noted them: ALTER SYSTEM or its command line may
    have changed what its configuration says. None: it does not run, or that may not be read."""
    if data is None:
        return None
    try:
        lines = (root / data.lstrip("/") / "postmaster.pid").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return (lines[3].strip(), lines[4].strip(), lines[5].strip()) if len(lines) > 5 else None


def _settings(file: Path) -> dict[str, str]:
    """postgresql.conf and conf.d/*.conf beside it (Debian's include_dir): a later line wins."""
    settings: dict[str, str] = {}
    for part in (file, *sorted(file.parent.glob("conf.d/*.conf"))):
        for match in SETTING.finditer(part.read_text("utf-8", "replace")):
            settings[match[1]] = match[2].replace("''", "'") if match[2] is not None else match[3]
    return settings
