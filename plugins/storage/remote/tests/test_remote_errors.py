"""What is wrong with a server or a login is told with what to do, without a secret, and nothing half is left behind."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.storage.remote.tests.places import Place, opened
from plugins.storage.remote.tests.servers import PASSWORD, Certificates, Server, imapd
from tests import swift as openstack
from tests.ports import free_port
from tklbam_core.api import EngineAddress, SpaceError, TargetError, TklbamError
from tklbam_core.testing.storage import NAMES
from tklbam_storage_remote.bridge.faults import Fault
from tklbam_storage_remote.client import BridgeStore
from tklbam_storage_remote.duplicity import interpreter
from tklbam_storage_remote.kinds.base import written

pytestmark = pytest.mark.root

Make = Callable[[str], Place]
WRONG = "wr0ng-passw0rd"


def failure(place: Place, *, write: bool = True) -> TklbamError:
    """The error of a check. Whatever it is, it names the address and what to do, and no secret."""
    with pytest.raises(TklbamError) as caught:
        opened(place).check(write=write)
    error = caught.value
    assert place.address in error.what or not isinstance(error, TargetError | SpaceError)
    assert error.remedy
    for secret in (PASSWORD, WRONG, openstack.SECRET):
        assert secret not in str(error)
    return error


@pytest.mark.parametrize(
    "kind", ["sftp-password", "rsync", "ftp", "webdav", "webdav-digest", "imap", "swift", "rclone"]
)
def test_a_wrong_password(kind: str, place_of: Make) -> None:
    place = place_of(kind)
    if kind == "rclone":
        config = Path(place.options["rclone-config"])
        config.write_text(config.read_text().replace("user = ", "user = not"))
    else:
        place = dataclasses.replace(place, credentials={**place.credentials, "password": WRONG})
    assert "user and the" in failure(place).remedy


@pytest.mark.parametrize("kind", ["sftp", "rsyncssh", "lftpsftp"])
def test_a_key_that_the_server_does_not_take(kind: str, place_of: Make, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    place = place_of(kind)
    error = failure(dataclasses.replace(place, options={**place.options, "ssh-key-file": str(tmp_path / "other")}))
    assert "ssh-key-file" in error.remedy


@pytest.mark.parametrize("kind", ["sftp", "rsyncssh", "lftpsftp"])
def test_a_server_whose_key_is_unknown_or_another(kind: str, place_of: Make, tmp_path: Path) -> None:
    place = place_of(kind)
    known = tmp_path / "known"
    theirs = Path(place.options["ssh-known-hosts"]).read_text().split()
    mine = (place.server.place / "id.pub").read_text().split()
    for line in ("", f"{theirs[0]} {mine[0]} {mine[1]}\n"):
        known.write_text(line)
        error = failure(dataclasses.replace(place, options={**place.options, "ssh-known-hosts": str(known)}))
        assert "key" in error.what.lower()
        assert f"ssh-keyscan -p {place.server.port} 127.0.0.1" in error.remedy
        assert known.read_text() == line, "nothing is trusted by itself"
    if kind == "sftp":
        known.write_text("")
        told = failure(dataclasses.replace(place, options={**place.options, "ssh-known-hosts": str(known)}))
        shown = subprocess.run(["ssh-keygen", "-lf", place.server.place / "host.pub"], capture_output=True, check=True)
        assert shown.stdout.decode().split()[1] in told.what, "the fingerprint, to be compared"


@pytest.mark.parametrize("kind", ["sftp", "rsync", "rsyncssh", "ftp", "webdavs", "imaps", "swift", "rclone"])
def test_nobody_listens(kind: str, place_of: Make) -> None:
    place, port = place_of(kind), free_port()
    old = [place.server.port, *getattr(place.server, "ports", ())] if kind != "swift" else [place.server.port]
    address, options = place.address, dict(place.options)
    for each in old:
        address = address.replace(f":{each}", f":{port}")
        options = {key: value.replace(f":{each}/", f":{port}/") for key, value in options.items()}
    if kind == "rclone":
        config = Path(options["rclone-config"])
        config.write_text(config.read_text().replace(f":{place.server.port}/", f":{port}/"))
    error = failure(dataclasses.replace(place, address=address, options=options))
    assert "refused" in error.what.lower() or "port" in error.what.lower(), error
    assert "server runs" in error.remedy


@pytest.mark.parametrize("kind", ["ftpes", "ftps", "webdavs", "imaps"])
def test_a_certificate_that_nobody_vouches_for(kind: str, place_of: Make, certificates: Certificates) -> None:
    place = place_of(kind)
    for options in ({}, {"ca-file": str(certificates.other_authority)}):
        error = failure(dataclasses.replace(place, options=options))
        assert "ertificate" in error.what
        assert "ca-file" in error.remedy


def test_duplicity_s_own_connection_to_a_mail_server_is_verified(place_of: Make, certificates: Certificates) -> None:
    place = place_of("imaps")
    words = [interpreter(), "-c", "import imaplib, os; imaplib.IMAP4_SSL(os.environ['IMAP_SERVER'], 993).shutdown()"]

    def connect(authority: Path, **more: str) -> subprocess.CompletedProcess[str]:
        address = opened(place, **{"ca-file": str(authority)}).engine()
        with written(address) as environment:
            together = {**os.environ, **environment, **more}
            return subprocess.run(words, env=together, capture_output=True, text=True, check=False)

    assert connect(certificates.authority).returncode == 0
    assert "CERTIFICATE_VERIFY_FAILED" in connect(certificates.other_authority).stderr
    assert "gaierror" in connect(certificates.authority, PYTHONPATH="").stderr, "no way round what makes it safe"


def test_an_rsync_module_that_is_not_there_or_takes_nothing(rsync: Server, place_of: Make) -> None:
    place = place_of("rsync")
    error = failure(dataclasses.replace(place, address=place.address.replace("/open/", "/nothere/")))
    assert "nothere" in error.what
    assert "nothing of that name" in error.remedy
    closed = dataclasses.replace(place, address=place.address.replace("/open/", "/closed/"))
    assert "read only" in failure(closed).what


def test_a_digest_password_on_a_port_where_duplicity_can_t_give_it(web: Server, place_of: Make) -> None:
    place = place_of("webdav-digest")
    host = place.address.split("/")[2]
    elsewhere = place.address.replace(host, f"127.0.0.1:{web.ports[2]}")
    assert "Digest" in failure(dataclasses.replace(place, address=elsewhere)).what


@pytest.mark.parametrize("kind", ["sftp", "scp", "rsync", "ftp", "webdav", "swift", "rclone"])
def test_a_reader_of_a_folder_that_is_not_there_makes_none(kind: str, place_of: Make) -> None:
    place = place_of(kind)
    assert "no such folder" in failure(place, write=False).what
    assert place.folder is None or not place.folder.exists()


@pytest.mark.parametrize("kind", ["sftp", "scp", "rsync", "ftp"])
def test_folders_that_are_made_are_private(kind: str, place_of: Make) -> None:
    place = place_of(kind)
    opened(place).check(write=True)
    assert place.folder is not None
    if kind != "ftp":  # its servers decide
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["sftp", "scp", "rsync", "ftp", "webdav", "rclone"])
def test_a_full_target_keeps_nothing_half(kind: str, place_of: Make) -> None:
    place = place_of(kind)
    assert place.folder is not None
    with place.server.small_disk(place.folder, "1m"):
        target = opened(place)
        target.check(write=True)
        with pytest.raises(SpaceError, match="full"):
            target.write(NAMES[0], io.BytesIO(os.urandom(3 << 20)))
        assert list(target.files()) == []
        target.write(NAMES[0], io.BytesIO(b"small"))
        assert target.read(NAMES[0]).read() == b"small"


def test_a_full_mailbox(base: Path, certificates: Certificates) -> None:
    with imapd(base / "small-mail", certificates, "1M").running() as server:
        place = Place(f"imap://joe@127.0.0.1:{server.port}/web1", {"password": PASSWORD})
        target = opened(place)
        target.check(write=True)
        free = target.free_bytes()
        assert free is not None
        assert free <= 1 << 20
        with pytest.raises(SpaceError, match="full"):
            target.write(NAMES[0], io.BytesIO(os.urandom(2 << 20)))
        assert list(target.files()) == []
    shutil.rmtree(server.place)


def test_a_program_that_is_not_installed(place_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {name: place_of(kind) for name, kind in (("rsync", "rsync"), ("lftp", "ftp"), ("rclone", "rclone"))}
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, place in places.items():
        error = failure(place)
        assert error.what == f"{name} is not installed"
        assert name in error.remedy


def test_a_module_that_duplicity_s_python_lacks() -> None:
    bare = ("/usr/bin/python3", "-I", "-S")
    for kind, module in (("ssh", "paramiko"), ("swift", "swiftclient")):
        store = BridgeStore(
            kind,
            {"url": "sftp://host", "path": ".", "shell": False, "container": "c", "prefix": "", "policy": ""},
            EngineAddress(url="sftp://host"),
            python=bare,
        )
        with pytest.raises(Fault) as caught:
            store.entries()
        assert (caught.value.kind, caught.value.text) == ("module", module)


def test_free_space_is_known_where_the_server_tells(place_of: Make) -> None:
    place = place_of("sftp")
    target = opened(place)
    target.check(write=True)
    assert place.folder is not None
    state, free = os.statvfs(place.folder), target.free_bytes()
    assert free is not None
    assert abs(free - state.f_bavail * state.f_frsize) < 1 << 30
    swift = place_of("swift")
    target = opened(swift)
    target.check(write=True)
    assert target.free_bytes() is None
    container = swift.address.split("/")[2]
    assert swift.server.native("POST", container, X_Container_Meta_Quota_Bytes="1000") == 204
    target.write(NAMES[0], io.BytesIO(b"x" * 100))
    assert target.free_bytes() == 900
    with pytest.raises(SpaceError, match="full"):
        target.write(NAMES[1], io.BytesIO(b"x" * 1000))
