"""The servers that the tests of a worker share, each started at its first use, and a home with the keys to them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins.storage.remote.tests import servers
from plugins.storage.remote.tests.places import Place, opened
from tests import swift as openstack
from tklbam_core.api import Target
from tklbam_storage_remote.access import PASSWORD_VARIABLES


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """Open to all, for servers that serve as nobody; with a short path, for sockets."""
    place = Path(tempfile.mkdtemp(prefix="tklbam-remote-tests-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def certificates(base: Path) -> servers.Certificates:
    return servers.certificates(base / "certificates")


@pytest.fixture(scope="session")
def ssh(base: Path) -> Iterator[servers.Server]:
    with servers.sshd(base / "ssh").running() as server:
        yield server


@pytest.fixture(scope="session")
def rsync(base: Path) -> Iterator[servers.Server]:
    with servers.rsyncd(base / "rsync").running() as server:
        yield server


@pytest.fixture(scope="session")
def ftp(base: Path) -> Iterator[servers.Server]:
    with servers.ftpd(base / "ftp").running() as server:
        yield server


@pytest.fixture(scope="session")
def ftpes(base: Path, certificates: servers.Certificates) -> Iterator[servers.Server]:
    with servers.ftpd(base / "ftpes", certificates).running() as server:
        yield server


@pytest.fixture(scope="session")
def ftps(base: Path, certificates: servers.Certificates) -> Iterator[servers.Server]:
    with servers.ftpd(base / "ftps", certificates, implicit=True).running() as server:
        yield server


@pytest.fixture(scope="session")
def web(base: Path, certificates: servers.Certificates) -> Iterator[servers.Server]:
    with servers.httpd(base / "web", certificates).running() as server:
        yield server


@pytest.fixture(scope="session")
def mail(base: Path, certificates: servers.Certificates) -> Iterator[servers.Server]:
    with servers.imapd(base / "mail", certificates).running() as server:
        yield server


@pytest.fixture(scope="session")
def swift() -> Iterator[openstack.Swift]:
    with openstack.running() as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no password of the person who runs the tests."""
    # What is installed once for all tests stays where it is.
    monkeypatch.setenv(
        "TKLBAM_SWIFT_VENV", os.environ.get("TKLBAM_SWIFT_VENV") or str(Path.home() / ".cache/tklbam-tests/swift")
    )
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(place))
    for name in (*PASSWORD_VARIABLES, "IMAP_PASSWORD", "RSYNC_PASSWORD", "SSH_AUTH_SOCK", "NETRC", "RCLONE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.fixture
def place_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """A new, empty place at one of the kinds of servers, by the name of a function of `places`."""
    from plugins.storage.remote.tests import places

    def make(kind: str) -> Place:
        server, _, _ = kind.partition("-")
        return places.PLACES[kind](request.getfixturevalue(places.SERVER.get(server, server)), request)

    return make


@pytest.fixture
def target_of(place_of: Callable[[str], Place]) -> Callable[[str], Target]:
    return lambda kind: opened(place_of(kind))


@pytest.fixture(scope="session")
def obscured() -> str:
    """The password as rclone's configuration keeps it."""
    made = subprocess.run(["rclone", "obscure", "-"], input=servers.PASSWORD.encode(), capture_output=True, check=True)
    return made.stdout.decode().strip()
