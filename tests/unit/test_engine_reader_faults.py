"""What stops a restore by our own reader: killed, full disks, unreadable volumes, another user. No secret is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.unprivileged import as_nobody
from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.http_target import http_target
from tests.unit.crafting import copy_command, delta, member, store, tar
from tests.unit.small_disks import tmpfs
from tklbam_core.api.errors import ArchiveError, EngineError, SpaceError, UnsafePathError
from tklbam_core.api.progress import ProgressEvent
from tklbam_core.engine.cache import Cache
from tklbam_core.engine.download import Wanted
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.fetching import choose
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.native.decryption import plain_text
from tklbam_core.engine.native.extract import Failure, Order, extract
from tklbam_core.engine.native.openpgp import STRONG, encrypt
from tklbam_core.engine.native.restoring import NativeRestore
from tklbam_core.engine.restore_cache import RestoreCache
from tklbam_core.engine.survey import survey
from tklbam_core.engine.workspace import workspace

SIZE = 12_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Sessions that take a while to restore; nothing may change them."""
    lab = Lab(tmp_path_factory.mktemp("large"))
    for number in range(2):
        lab.put("srv/large", bytes([number]) + noise(SIZE, 1))
        lab.backup(volume_size=25)
    return lab


def children() -> dict[int, bytes]:
    """Command lines of the processes that this one started and that run, by id."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread, or a child, that has ended since it was listed
            for child in (thread / "children").read_text().split():
                if line := Path(f"/proc/{child}/cmdline").read_bytes():
                    found[int(child)] = line
    return found


def test_a_killed_one_is_told_and_leaves_nothing_running(large: Lab) -> None:
    before = children()
    killed: list[int] = []

    def kill(event: ProgressEvent) -> None:
        for child in children().keys() - before.keys() - {*killed}:
            os.kill(child, signal.SIGKILL)
            killed.append(child)

    with pytest.raises(EngineError, match="ended early: it was ended") as caught:
        large.restore("killed", progress=kill)
    assert len(killed) == 1
    assert "memory" in caught.value.remedy
    assert children().keys() <= before.keys()
    assert large.temporary_files() == []


def test_the_secret_stands_where_nobody_can_read_it(large: Lab) -> None:
    before, seen = children(), []

    def look(event: ProgressEvent) -> None:
        for child in children().keys() - before.keys():
            seen.append(Path(f"/proc/{child}/cmdline").read_bytes())
            seen.append(Path(f"/proc/{child}/environ").read_bytes())
        for place in (large.base / "temp").rglob("*"):
            assert not place.is_file() or SECRET.encode() not in place.read_bytes()

    shutil.rmtree(large.restore("looked-at", progress=look))
    assert any(b"native.extract" in line for line in seen)
    assert not any(SECRET.encode() in text for text in seen)


def test_another_secret_is_told_with_the_manifest_in_the_cache(large: Lab) -> None:
    with pytest.raises(ArchiveError, match="the secret does not open the archive") as caught:
        large.restore("wrong", secret="another secret")
    assert "another secret" not in str(caught.value)


@pytest.mark.root
@pytest.mark.parametrize("place", ["destination", "temp"])
def test_a_disk_that_becomes_full_is_named(lab: Lab, place: str) -> None:
    content = noise(3_000_000, 1)
    store(lab, [tar(member(b"snapshot/f", content))], [tar(member(b"diff/f", delta(copy_command(0, len(content)))))])
    with tmpfs(lab.base / place, "2m"):
        with pytest.raises(SpaceError, match=f"the file system of {lab.base / place}") as caught:
            lab.restore("destination")
    assert "Free some space" in caught.value.remedy


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_volume_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "to").mkdir()
    places = {"destination": str(tmp_path / "to"), "scratch": str(tmp_path)}
    order = Order(sessions=[[(str(tmp_path / "volume"), "")]], path="", own=False, secret=SECRET, **places)
    with pytest.raises(Failure) as caught:
        extract(order, lambda **_: None)
    assert (caught.value.kind, caught.value.name, str(caught.value)) == ("unreadable", "volume", "Is a directory")


def test_a_disk_that_fails_under_a_volume_is_no_damaged_compression(tmp_path: Path) -> None:
    """An error of reading that comes in the middle."""
    message = encrypt(noise(200_000, 1), SECRET, STRONG)
    pieces = [message[at : at + 50_000] for at in range(0, 150_000, 50_000)]

    def read(_: int) -> bytes:
        if not pieces:
            raise OSError(5, "Input/output error")
        return pieces.pop(0)

    with pytest.raises(OSError, match="Input/output error"):
        b"".join(plain_text(read, SECRET))


def test_a_cache_cleared_while_it_is_read_from_harms_nothing(lab: Lab) -> None:
    lab.put("srv/large", noise(6_000_000, 1))
    lab.backup(volume_size=1)
    kept = RestoreCache(lab.base / "kept", lambda free: free)
    cleared: list[int] = []

    def staged() -> list[int]:
        return [path.stat().st_nlink for path in kept.directory.rglob("*vol*") if path.is_file()]

    def clear(event: ProgressEvent) -> None:
        if event.phase == "unpack" and not cleared:
            assert set(staged()) == {2}
            cleared.append(event.done)
            kept.clear()
            assert set(staged()) == {1}

    with http_target(lab.store) as target:
        engine = DuplicityEngine(lab.base / "another", lab.base / "temp", kept=kept)
        engine.fetch(target, FetchRequest(destination=lab.base / "restored", secret=SECRET, progress=clear))
        assert "directly" not in target.trouble.asked
    assert cleared
    assert tree_state(lab.base / "restored") == tree_state(lab.source)


def test_a_restore_that_gets_no_walls_is_refused_however_long_its_order(lab: Lab) -> None:
    """A pipe holds 64 KiB of an order that nobody reads."""
    store(lab, [tar()] * 800)
    chain = choose(lab.target, survey(lab.target.files(), Cache(lab.cache, lab.target.address)), None)
    with workspace(lab.base / "temp") as place, pytest.raises(UnsafePathError, match="this kernel lets nothing keep"):
        NativeRestore(
            target=lab.target,
            directory=lab.store,
            sessions=[[Wanted(volume) for volume in chain[0].volumes.values()]],
            path=None,
            within=None,
            destination=lab.base / "missing",
            secret=SECRET,
            place=place,
            proven=True,
            phase="unpack",
            progress=lambda _: None,
        ).restore()


AS_ANOTHER = """
import os, sys
from pathlib import Path
from tklbam_core.api.errors import TklbamError
from tklbam_core.engine.cache import Cache
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.fetching import choose
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.manifest import Manifest
from tklbam_storage_local.target import LocalTarget
base = Path(sys.argv[1])
target = LocalTarget(f"file://{base}/store", base / "store")
request = FetchRequest(destination=base / "restored", secret=sys.argv[2])
try:
    DuplicityEngine(base / "cache", base / "temp").fetch(target, request)
except TklbamError as error:
    print(type(error).__name__, error.what)
"""


@contextmanager
def nobodys(lab: Lab) -> Iterator[Path]:
    """The lab's target and cache, in a place of the user nobody."""
    base = Path(tempfile.mkdtemp(prefix="tklbam-test-", dir="/tmp"))
    try:
        for name in ("store", "cache"):
            shutil.copytree(getattr(lab, name), base / name)
        (base / "temp").mkdir()
        for path in [base, *base.rglob("*")]:
            os.chown(path, 65534, 65534)
        yield base
    finally:
        shutil.rmtree(base)


def restored_by_nobody(base: Path) -> str:
    """What it says."""
    argv, environment = as_nobody([sys.executable, "-P", "-c", AS_ANOTHER, str(base), SECRET], dict(os.environ))
    done = subprocess.run(argv, env=environment, capture_output=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.root
def test_another_user_restores_without_owners_and_is_told_what_it_may_not(lab: Lab) -> None:
    lab.put("srv/file", b"content")
    os.chown(lab.source / "srv/file", 1000, 1000)
    (lab.source / "srv/file").chmod(0o4750)
    lab.put("srv/large", noise(200_000, 1))
    lab.backup()
    with nobodys(lab) as base:
        assert restored_by_nobody(base) == ""
        expected = {path: (found[0], 65534, 65534, *found[3:]) for path, found in tree_state(lab.source).items()}
        assert tree_state(base / "restored") == expected
        shutil.rmtree(base / "restored")
        volume = next((base / "store").glob("*vol1*"))
        volume.chmod(0)
        said = restored_by_nobody(base)
        assert said == f"TargetError {volume} can't be read: Permission denied\n"
    os.mknod(lab.source / "srv/zero", 0o020666, os.makedev(1, 5))
    lab.backup()
    with nobodys(lab) as base:
        said = restored_by_nobody(base)
        assert said.startswith("ArchiveError 1 files could not be restored")
        assert "srv/zero: Operation not permitted" in said
        assert (base / "restored/srv/file").read_bytes() == b"content"
