"""Trouble on the way to S3: either the backup gets through it, or the error says what to do; the next one is sound."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import swift as servers
from tests.e2e.machine import Machine
from tests.e2e.small import assert_clear, conf, initialised
from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.ports import free_port
from tests.proxy import Proxy, proxy
from tests.swift import Swift, session_token
from tklbam_core.api import TargetError
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.patience import Patience

from .conftest import FIRST, Bucket, new_bucket, opened

FULL = "duplicity-full."
KEYS = {"AWS_ACCESS_KEY_ID": servers.KEY, "AWS_SECRET_ACCESS_KEY": servers.SECRET}


@pytest.fixture
def between(swift: Swift) -> Iterator[Proxy]:
    with proxy(swift.port) as made:
        yield made


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system that has its key, to be copied: making one takes a while."""
    made = initialised(tmp_path_factory.mktemp("initial") / "system")
    made.write("/etc/tklbam/overrides", "/srv\n")
    return made.root


@pytest.fixture
def system(initial: Path, bucket: Bucket, between: Proxy, tmp_path: Path) -> Machine:
    """A system whose backups go through a network that can be made to fail, in volumes of 1 MB."""
    shutil.copytree(initial, tmp_path / "system")
    made = Machine(tmp_path / "system", KEYS)
    address = f"s3://127.0.0.1:{between.port}/{bucket.name}/web1"
    conf(made, f"address {address}", "volsize 1", "storage-option s3-tls=no")
    made.write("/srv/big", secrets.token_bytes(3_200_000))
    return made


def names(bucket: Bucket) -> list[str]:
    return [file.name for file in bucket.target().files()]


def assert_restorable(system: Machine) -> None:
    """All that lies on the target is whole, and what is restored from it is this system."""
    system.tklbam("check", "--restore-test", "--quiet")


def impatient(system: Machine) -> None:
    with open(system.path("/etc/tklbam/conf"), "a") as file:
        file.write("network-retries 1\n")


def wait_until(true: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def start_backup(system: Machine, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        system.command("backup", *words),
        env={**os.environ, **system.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_server_that_is_killed_and_comes_back_in_mid_upload_is_waited_for(
    system: Machine, bucket: Bucket, between: Proxy, swift: Swift
) -> None:
    between.rate = 600_000
    running = start_backup(system)
    wait_until(lambda: any(name.startswith(FULL) for name in names(bucket)))
    swift.stop("proxy", how=signal.SIGKILL)
    between.cut()
    between.rate = None
    time.sleep(2)
    swift.start()
    out, err = running.communicate(timeout=180)
    assert running.returncode == 0, out + err
    assert_restorable(system)


def test_connections_that_are_cut_are_made_again(system: Machine, between: Proxy) -> None:
    between.cut_after(700_000, 900_000, 900_000)
    system.tklbam("backup")
    assert between.cuts_left == 0
    assert_restorable(system)


def test_a_server_that_stays_away_is_an_error_and_the_next_backup_is_sound(
    system: Machine, bucket: Bucket, between: Proxy, swift: Swift
) -> None:
    impatient(system)
    between.rate = 200_000  # so that it is not at its end before we see that it has begun
    running = start_backup(system, "--quiet")
    wait_until(lambda: any(name.startswith(FULL) for name in names(bucket)))
    between.target = free_port()
    between.cut()
    out, err = running.communicate(timeout=180)
    assert running.returncode == 1, out + err
    assert "Traceback" not in err
    assert "connection broke off" in err
    between.target, between.rate = swift.port, None
    assert "every volume is there" in system.tklbam("backup").err


def test_a_full_target_is_told_and_nothing_half_stays(
    system: Machine, bucket: Bucket, swift: Swift, tmp_path: Path
) -> None:
    system.write("/srv/small", "first\n")
    system.path("/srv/big").rename(tmp_path / "big")
    system.tklbam("backup")
    before = names(bucket)
    assert swift.native("POST", bucket.name, X_Container_Meta_Quota_Bytes="1500000") == 204
    (tmp_path / "big").rename(system.path("/srv/big"))
    done = system.tklbam("backup", "--quiet", status=1)
    assert_clear(done, "the target is full", "keep-full")
    assert sorted(names(bucket)) == sorted(before)
    assert swift.native("POST", bucket.name, X_Remove_Container_Meta_Quota_Bytes="x") == 204
    assert "every volume is there" in system.tklbam("backup").err


def test_what_is_wrong_with_keys_is_said_at_once(system: Machine) -> None:
    impatient(system)
    system.environment = {**KEYS, "AWS_SECRET_ACCESS_KEY": "wrong-secret-8c1d"}
    done = system.tklbam("backup", "--quiet", status=1)
    assert_clear(done, "does not fit", "access key")
    assert "wrong-secret-8c1d" not in done.err


@pytest.mark.parametrize(
    ("address", "options", "what", "remedy"),
    [
        ("s3://127.0.0.1:{port}/{bucket}/x", {"s3-tls": "no"}, "no bucket", "address"),
        ("s3://127.0.0.1:{port}/{bucket}/x", {}, "does not speak TLS", "s3-tls=no"),
        ("s3://127.0.0.1:{nobody}/{bucket}/x", {}, "nobody answers", "port"),
        ("s3://does-not-exist.invalid/{bucket}/x", {}, "can't be resolved", "DNS"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(
    address: str, options: dict[str, str], what: str, remedy: str, bucket: Bucket
) -> None:
    place = address.format(port=bucket.server.port, bucket=bucket.name, nobody=free_port())
    with pytest.raises(TargetError) as caught:
        opened(place, options, FIRST).check(write=False)
    assert what in caught.value.what
    assert remedy in caught.value.remedy


# --- keys that expire, with the engine alone -------------------------------------------------------------------------


class Temporary:
    """Hands out keys that the server takes for `seconds`, and counts how often."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.handed_out = 0

    def __call__(self) -> dict[str, str]:
        self.handed_out += 1
        return {
            "type": "iamrole",
            "accesskey": servers.TEMPORARY,
            "secretkey": servers.TEMPORARY_SECRET,
            "sessiontoken": session_token(self.seconds),
            "expiration": (datetime.now(UTC) + timedelta(seconds=self.seconds)).isoformat(),
        }


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "lab")
    made.put("srv/big", noise(3_000_000, 5))
    return made


def test_keys_that_expire_in_mid_backup_are_renewed(lab: Lab, swift: Swift, between: Proxy) -> None:
    bucket = new_bucket(swift)
    keys = Temporary(5)
    address = f"s3://127.0.0.1:{between.port}/{bucket.name}/web1"
    target = opened(address, {"s3-tls": "no"}, keys(), keys)
    bucket.target().check(write=True)
    between.rate = 180_000  # so that it takes longer than any key lasts
    began = time.monotonic()
    lab.engine.prepare(target, SECRET)
    result = lab.engine.write(target, lab.request())
    assert time.monotonic() - began > 2 * keys.seconds
    assert keys.handed_out > 3
    assert lab.engine.verify(target, result.session, SECRET).ok
    between.rate = None
    destination = lab.base / "restored"
    lab.engine.fetch(target, FetchRequest(destination=destination, secret=SECRET))
    assert tree_state(destination)[b"srv/big"] == tree_state(lab.source)[b"srv/big"]


def test_keys_that_nobody_renews_are_an_error_that_says_so(lab: Lab, swift: Swift, between: Proxy) -> None:
    bucket = new_bucket(swift)
    bucket.target().check(write=True)
    address = f"s3://127.0.0.1:{between.port}/{bucket.name}/web1"
    engine = DuplicityEngine(lab.cache, lab.base / "temp", patience=Patience(retries=1))
    engine.prepare(opened(address, {"s3-tls": "no"}, FIRST), SECRET)
    between.rate = 200_000
    target = opened(address, {"s3-tls": "no"}, Temporary(8)())
    with pytest.raises(TargetError, match="expired") as caught:
        engine.write(target, lab.request())
    assert caught.value.remedy
    assert servers.TEMPORARY_SECRET not in str(caught.value)
    with pytest.raises(TargetError):
        target.check(write=False)
    between.rate = None
    again = opened(bucket.address, {"s3-tls": "no"}, FIRST)
    lab.engine.prepare(again, SECRET)
    assert [file.name for file in again.files()] == []
