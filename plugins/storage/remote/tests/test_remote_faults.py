"""Networks and servers that fail in the middle of a backup: it completes or says why, and the next one is sound."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.storage.remote.tests.machines import machine
from plugins.storage.remote.tests.places import Place, opened
from plugins.storage.remote.tests.servers import Server
from tests.e2e.machine import Done, Machine
from tests.e2e.small import assert_clear
from tests.proxy import Proxy, proxy

pytestmark = pytest.mark.root

Make = Callable[[str], Place]
KINDS = ("sftp", "ftp", "webdav")
SIZE = 2_500_000


def ready(place: Place, tmp_path: Path) -> Machine:
    """A system with three volumes to store."""
    made = machine(tmp_path / "a", place, "volsize 1", "network-timeout 10")
    made.write("/srv/big", os.urandom(SIZE))
    return made


def through(place: Place, between: Proxy) -> Place:
    """The same place by way of a proxy."""
    old, new = f"127.0.0.1:{place.server.port}", f"127.0.0.1:{between.port}"
    options = dict(place.options)
    if "ssh-known-hosts" in options:
        known = Path(options["ssh-known-hosts"])
        mine = known.with_name(f"known-{between.port}")
        mine.write_text(known.read_text().replace(f":{place.server.port} ", f":{between.port} "))
        options["ssh-known-hosts"] = str(mine)
    return dataclasses.replace(place, address=place.address.replace(old, new), options=options)


def assert_sound(made: Machine, place: Place, got: Path) -> None:
    """The next backup takes all, what it says is stored can be had, and nothing lies about besides."""
    made.tklbam("backup", "--quiet")
    made.tklbam("restore", "--address", place.address, "--raw-download", str(got), "--quiet")
    assert (got / "srv/big").read_bytes() == made.path("/srv/big").read_bytes()
    names = [file.name for file in opened(place).files()]
    assert names
    assert all(name.startswith("duplicity-") for name in names)
    # What Apache was receiving when it was killed it never shows, and never removes.
    lying = [] if place.folder is None else [path.name for path in place.folder.iterdir()]
    assert not [name for name in lying if name not in names and not name.startswith(".davfs.tmp")]


@pytest.mark.parametrize("kind", ["sftp", "webdav"])
def test_a_connection_that_is_cut_in_mid_upload(kind: str, place_of: Make, tmp_path: Path) -> None:
    place = place_of(kind)
    with proxy(place.server.port) as between:
        detour = through(place, between)
        made = ready(detour, tmp_path)
        between.cut_after(1_500_000)
        done = made.tklbam("backup", "--quiet", status=None)
        assert between.cuts_left == 0
        if done.status != 0:
            assert done.status == 1, done
            assert_clear(done, detour.address)
        assert_sound(made, detour, tmp_path / "got")


@pytest.mark.parametrize("kind", ["ftp", "webdav"])
def test_a_server_that_is_killed_and_comes_back_in_mid_upload(kind: str, place_of: Make, tmp_path: Path) -> None:
    place = place_of(kind)
    made = ready(place, tmp_path)
    assert place.folder is not None
    server: Server = place.server
    process = subprocess.Popen(
        made.command("backup", "--quiet"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 90
        while not list(place.folder.glob("duplicity-full.*.vol1.*")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        server.kill_and_start(after=1.0)
        out, err = process.communicate(timeout=150)
    done = Done(process.returncode, out, err)
    if done.status != 0:
        assert done.status == 1, done
        assert_clear(done, place.address)
    assert_sound(made, place, tmp_path / "got")


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_fills_up(kind: str, place_of: Make, tmp_path: Path) -> None:
    place = place_of(kind)
    assert place.folder is not None
    with place.server.small_disk(place.folder, "1800k"):
        made = ready(place, tmp_path)
        done = made.tklbam("backup", "--quiet", status=1)
        assert_clear(done, place.address, "full")
        assert list(opened(place).files()) == [], "nothing of it is left"
        made.write("/srv/big", os.urandom(100_000))
        made.tklbam("backup", "--quiet")
        made.tklbam("restore", "--address", place.address, "--raw-download", str(tmp_path / "got"), "--quiet")
        assert (tmp_path / "got/srv/big").read_bytes() == made.path("/srv/big").read_bytes()


def test_a_slow_link_takes_longer_and_no_more(place_of: Make, tmp_path: Path) -> None:
    place = place_of("sftp")
    with proxy(place.server.port) as between:
        detour = through(place, between)
        made = ready(detour, tmp_path)
        between.rate = 600_000
        began = time.monotonic()
        made.tklbam("backup", "--quiet")
        assert time.monotonic() - began > SIZE / between.rate
        between.rate = None
        made.tklbam("restore", "--address", detour.address, "--raw-download", str(tmp_path / "got"), "--quiet")
        assert (tmp_path / "got/srv/big").read_bytes() == made.path("/srv/big").read_bytes()


def test_a_wrong_password_stops_a_backup_before_its_work(place_of: Make, tmp_path: Path) -> None:
    place = place_of("ftp")
    made = ready(place, tmp_path)
    secret = made.path("/etc/tklbam/credentials")
    secret.write_text(secret.read_text().replace("password = ", "password = not"))
    done = made.tklbam("backup", "--quiet", status=1)
    assert_clear(done, place.address, "password")
    assert not made.path("/TKLBAM").exists()
