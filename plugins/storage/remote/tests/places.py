"""Addresses on the tests' servers, with the credentials and options that open them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from plugins.storage.remote.tests.servers import PASSWORD, USER, Server
from tests import swift as openstack
from tklbam_core.api import Target, TargetRequest
from tklbam_storage_remote.plugin import RemoteStorage

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """`folder` is where the files lie on the server's side, where that is a plain directory."""

    address: str
    credentials: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    server: Any = None


def opened(place: Place, **options: str) -> Target:
    made = RemoteStorage().tklbam_storage_target(
        TargetRequest(address=place.address, credentials=place.credentials, options={**place.options, **options})
    )
    assert made is not None
    return made


LOGIN = {"user": USER, "password": PASSWORD}


def _new() -> str:
    """A folder that no other test has, two levels down."""
    return f"backups/{os.getpid()}-{next(_NUMBERS)}"


def _keys(server: Server) -> dict[str, str]:
    return {"ssh-key-file": str(server.place / "id"), "ssh-known-hosts": str(server.place / "known_hosts")}


def _over_ssh(scheme: str, *, password: bool = False) -> Callable[..., Place]:
    def make(server: Server, _: pytest.FixtureRequest) -> Place:
        folder = server.store / _new()
        options = _keys(server)
        if password:
            del options["ssh-key-file"]
        return Place(
            f"{scheme}://root@127.0.0.1:{server.port}/{folder}",
            {"password": PASSWORD} if password else {},
            options,
            folder,
            server,
        )

    return make


def _relative(server: Server, _: pytest.FixtureRequest) -> Place:
    folder = _new()
    address = f"ssh://root@127.0.0.1:{server.port}/{folder}"
    return Place(address, {}, _keys(server), server.place / "home" / folder, server)


def _daemon(server: Server, _: pytest.FixtureRequest) -> Place:
    folder = _new()
    address = f"rsync://127.0.0.1:{server.port}::/open/{folder}"
    return Place(address, LOGIN, {}, server.store / folder, server)


def _login(scheme: str, port: int = 0, *, tls: bool = False) -> Callable[..., Place]:
    def make(server: Server, request: pytest.FixtureRequest) -> Place:
        folder = _new()
        options = {"ca-file": str(request.getfixturevalue("certificates").authority)} if tls else {}
        address = f"{scheme}://127.0.0.1:{server.ports[port]}/{folder}"
        return Place(address, LOGIN, options, server.store / folder, server)

    return make


def _mailbox(server: Server, request: pytest.FixtureRequest) -> Place:
    """A mailbox that is not there yet."""
    place = _login("imap")(server, request)
    return replace(place, options={"imap-mailbox": f"Backups {next(_NUMBERS)}"})


def _digest(server: Server, _: pytest.FixtureRequest) -> Place:
    folder = _new()
    address = (server.place / "address").read_text()
    return Place(f"webdav://{address}/{folder}", LOGIN, {}, server.store / folder, server)


def _swift(server: openstack.Swift, _: pytest.FixtureRequest) -> Place:
    return Place(
        f"swift://{_new().replace('/', '-')}/web1",
        {"user": openstack.KEY, "password": openstack.SECRET},
        {"swift-auth-url": server.auth_url},
        server=server,
    )


def _cloudfiles(server: openstack.Swift, request: pytest.FixtureRequest) -> Place:
    monkeypatch = request.getfixturevalue("monkeypatch")
    for name, value in (("USERNAME", openstack.KEY), ("APIKEY", openstack.SECRET), ("AUTHURL", server.auth_url)):
        monkeypatch.setenv(f"CLOUDFILES_{name}", value)
    return Place(f"cf+http://{_new().replace('/', '-')}", server=server)


def _rclone(server: Server, request: pytest.FixtureRequest) -> Place:
    """The WebDAV server, by rclone."""
    folder = _new()
    config = request.getfixturevalue("tmp_path") / "rclone.conf"
    config.write_text(
        f"[nas]\ntype = webdav\nurl = http://127.0.0.1:{server.ports[0]}/\nvendor = other\nuser = {USER}\n"
        f"pass = {request.getfixturevalue('obscured')}\n"
    )
    config.chmod(0o600)
    return Place(f"rclone://nas:{folder}", {}, {"rclone-config": str(config)}, server.store / folder, server)


SERVER = {
    "sftp": "ssh", "scp": "ssh", "lftpsftp": "ssh", "relative": "ssh", "rsyncssh": "ssh",
    "rsync": "rsync", "ftp": "ftp", "ftpes": "ftpes", "ftps": "ftps", "webdav": "web", "webdavs": "web",
    "rclone": "web", "imap": "mail", "imaps": "mail", "swift": "swift", "cloudfiles": "swift",
}  # fmt: skip
"""Which server each kind of place is at: its fixture."""

PLACES: Mapping[str, Callable[..., Place]] = {
    "sftp": _over_ssh("sftp"),
    "sftp-password": _over_ssh("sftp", password=True),
    "relative": _relative,
    "scp": _over_ssh("scp"),
    "rsyncssh": _over_ssh("rsync"),
    "rsync": _daemon,
    "ftp": _login("ftp"),
    "ftpes": _login("ftpes", tls=True),
    "ftps": _login("ftps", tls=True),
    "lftpsftp": _over_ssh("lftp+sftp"),
    "webdav": _login("webdav"),
    "webdav-digest": _digest,
    "webdavs": _login("webdavs", 1, tls=True),
    "imap": _login("imap"),
    "imap-mailbox": _mailbox,
    "imaps": _login("imaps", 1, tls=True),
    "swift": _swift,
    "cloudfiles": _cloudfiles,
    "rclone": _rclone,
}
