"""Faults while our own writer is at work: what is told, what is left, and that the next session is right."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gzip
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.unit.killing import killed_at_every_step
from tests.unit.small_disks import tmpfs
from tests.unit.test_engine_kept import KeepingTarget
from tklbam_core.api.errors import EngineError, LockedError, SpaceError, TargetError, TklbamError
from tklbam_core.api.progress import ProgressEvent
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.native import workers
from tklbam_core.engine.native.members import Member, Packer, Part
from tklbam_core.engine.native.tarheader import read_header
from tklbam_storage_local.target import LocalTarget

HERE = Path(__file__).resolve().parents[2]


def void(_: object) -> None:
    """Of what only has to be done."""


class FaultyLab(Lab):
    """A target with faults: `fault` is called with the name of each file that is to be written there."""

    fault: Callable[[str], None] = staticmethod(lambda name: None)

    @property
    def target(self) -> LocalTarget:
        return Faulty(self)


class Faulty(LocalTarget):
    def __init__(self, lab: FaultyLab) -> None:
        super().__init__(f"file://{lab.store}", lab.store)
        self._lab = lab

    def write(self, name: str, content: BinaryIO) -> None:
        self._lab.fault(name)
        super().write(name, content)


@pytest.fixture
def lab(tmp_path: Path) -> FaultyLab:
    return FaultyLab(tmp_path)


def settle(lab: Lab) -> None:
    """Everything was changed long ago."""
    for path in [lab.source, *lab.source.rglob("*")]:
        if not path.is_symlink():
            os.utime(path, (1_600_000_000, 1_600_000_000))


def one(place: Path, **fields: object) -> Member:
    """A member of a regular file, as it was when it was looked at."""
    status = os.lstat(place)
    found = Member(
        path=os.fsencode(place.name),
        place=os.fsencode(place),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        mtime=int(status.st_mtime),
        seen=int(status.st_mtime),
    )
    return found._replace(**fields)  # type: ignore[arg-type]


def packed(member: Member) -> Part:
    (part,) = Packer(1 << 20).pack([member])
    return part


@pytest.mark.parametrize(
    ("what", "full"), [("volume", True), ("second volume", False), ("signatures", False), ("manifest", True)]
)
def test_a_target_that_refuses_a_file_gets_nothing_of_the_session(lab: FaultyLab, what: str, full: bool) -> None:
    lab.put("srv/a", noise(300_000, 1))
    first = lab.backup(full=True).session
    before = sorted(path.name for path in lab.store.iterdir())
    lab.put("srv/b", noise(2_500_000, 2))

    def refuse(name: str) -> None:
        if {"volume": "vol1.", "second volume": "vol2."}.get(what, what) in name:
            raise TargetError("the disk burns", "Put it out.")

    lab.fault = refuse
    with pytest.raises(TargetError, match="burns"):
        lab.backup(full=full)
    assert sorted(path.name for path in lab.store.iterdir()) == before
    assert lab.engine.chains(lab.target)[0].sessions == (first,)
    assert lab.temporary_files() == []
    lab.fault = lambda name: None
    assert lab.prepare() == []
    again = lab.engine.write(lab.target, lab.request())
    assert (again.session.kind, again.warnings) == ("incremental", ())
    assert tree_state(lab.restore()) == tree_state(lab.source)


class Slow(Faulty):
    parallel_writes = 2


def test_what_is_on_its_way_when_another_file_fails_is_not_left_there(lab: FaultyLab) -> None:
    lab.put("srv/b", noise(3_500_000, 2))
    second = threading.Event()

    def slow(name: str) -> None:
        if "vol1." in name:
            assert second.wait(60)
            time.sleep(0.5)
        elif "vol2." in name:
            second.set()
            raise TargetError("the disk burns", "Put it out.")

    lab.fault = slow
    target = Slow(lab)
    target.check(write=True)
    with pytest.raises(TargetError, match="burns"):
        lab.engine.write(target, lab.request(uploads=2))
    assert list(lab.store.iterdir()) == []
    time.sleep(0.7)
    assert list(lab.store.iterdir()) == []


HOLDER = (
    "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); input()"
)


def test_a_run_that_comes_second_leaves_the_firsts_files_alone(lab: FaultyLab) -> None:
    """The other one begins just after this one looked."""
    lab.backup()
    other = lab.store / "duplicity-full.20360101T000000Z.vol1.difftar.gpg"
    (directory,) = (path for path in lab.cache.iterdir() if path.is_dir())
    part = directory / "duplicity-full.20360101T000000Z.manifest.part"
    holders: list[subprocess.Popen[bytes]] = []

    class Busy(LocalTarget):
        def free_bytes(self) -> int | None:
            if not holders:
                words = [sys.executable, "-c", HOLDER, str(directory / "lockfile")]
                holders.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
                assert holders[0].stdout is not None
                holders[0].stdout.readline()
                other.write_bytes(b"half a volume")
                part.touch()
            return super().free_bytes()

    try:
        with pytest.raises(LockedError):
            lab.engine.write(Busy(lab.target.address, lab.store), lab.request())
        assert other.read_bytes() == b"half a volume"
        assert part.exists()
        with pytest.raises(LockedError):
            lab.engine.write(lab.target, lab.request())
    finally:
        for holder in holders:
            holder.communicate()
    assert any("interrupted" in line for line in lab.prepare())


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "not gzip": lambda data: b"signatures?",
    "cut short": lambda data: data[: len(data) // 2],
    "no signature inside": lambda data: gzip.compress(gzip.decompress(data).replace(b"rs\x016", b"rs\x019")),
    "a bit flipped": lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_signatures_in_the_cache_are_fetched_again(lab: FaultyLab, damage: str) -> None:
    lab.put("srv/a", noise(2_500_000, 1))
    settle(lab)
    lab.backup()
    lab.put("srv/a", noise(2_500_000, 1) + b"more")
    lab.put("srv/b", noise(1_500_000, 3))
    (place,) = lab.cache.rglob("*.sigtar.gz")
    place.write_bytes(DAMAGES[damage](place.read_bytes()))
    result = lab.backup()
    assert result.session.kind == "incremental"
    assert result.session.size < 2_000_000, "a delta of what was there"
    assert any("damaged" in line and str(place) in line for line in result.warnings)
    assert lab.sessions() == 2
    lab.put("srv/c", b"after it")
    third = lab.backup()
    assert (third.session.kind, third.warnings) == ("incremental", ())
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_damaged_signatures_where_nothing_can_be_removed(lab: FaultyLab) -> None:
    lab.put("srv/a", noise(500_000, 1))
    lab.backup()
    lab.put("srv/b", noise(3_500_000, 3))
    (place,) = lab.cache.rglob("*.sigtar.gz")
    place.write_bytes(DAMAGES["a bit flipped"](place.read_bytes()))
    target = KeepingTarget(lab.target.address, lab.store)
    result = lab.engine.write(target, lab.request())
    assert any("damaged" in line for line in result.warnings)
    assert lab.engine.verify(target, result.session, SECRET).ok
    lab.put("srv/c", b"after it")
    lab.engine.prepare(target, SECRET)
    lab.engine.write(target, lab.request())
    assert tree_state(lab.restore()) == tree_state(lab.source)


def replace_by_fifo(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def replace_by_link(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))
    place.symlink_to("elsewhere")


def replace_by_directory(place: Path) -> None:
    place.unlink()
    place.mkdir()


def replace_by_socket(place: Path) -> None:
    place.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(place.parent)  # names of sockets are short
        made.bind(place.name)
        os.chdir(here)


@pytest.mark.parametrize(
    "replace", [Path.unlink, replace_by_fifo, replace_by_link, replace_by_directory, replace_by_socket]
)
def test_what_a_file_became_after_it_was_looked_at(tmp_path: Path, replace: Callable[[Path], object]) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"content")
    member = one(place)
    replace(place)
    part = packed(member)
    assert (part.gone, part.unread, part.data, part.signatures) == ((b"file",), (), b"", b"")


@pytest.mark.root
def test_content_never_goes_under_another_files_owner_and_mode(tmp_path: Path) -> None:
    mine, secret = tmp_path / "file", tmp_path / "secret"
    mine.write_bytes(b"mine")
    os.chown(mine, 1000, 1000)
    os.chmod(mine, 0o644)
    member = one(mine)
    secret.write_bytes(b"the secret")
    os.chmod(secret, 0o600)
    secret.rename(mine)
    header = read_header(_reader(packed(member).signatures))
    assert header is not None
    assert (header.uid, header.gid, header.mode) == (0, 0, 0o600)


def _reader(data: bytes) -> Callable[[int], bytes]:
    import io

    return io.BytesIO(data).read


def bind(what: Path, place: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(what), os.fsencode(place), None, 4096, None) != 0:
        raise OSError(ctypes.get_errno(), "can't be mounted")


@pytest.mark.root
def test_a_file_of_which_nothing_can_be_read_keeps_the_state_it_had(lab: FaultyLab) -> None:
    lab.put("srv/bad", b"as it was")
    lab.put("srv/new", b"")
    settle(lab)
    lab.backup([b"srv/bad"])
    (lab.source / "srv/bad").write_bytes(b"")
    for name in ("bad", "new"):
        bind(Path("/proc/self/mem"), lab.source / "srv" / name)  # reading at 0 is an input/output error
    try:
        result = lab.backup()
    finally:
        for name in ("bad", "new"):
            subprocess.run(["umount", lab.source / "srv" / name], check=True)
    assert sorted(result.unread) == ["srv/bad: Input/output error", "srv/new: Input/output error"]
    restored = lab.restore()
    assert (restored / "srv/bad").read_bytes() == b"as it was"
    assert not (restored / "srv/new").exists()
    lab.put("srv/bad", b"readable again")
    assert lab.backup().unread == ()
    assert tree_state(lab.restore("after")) == tree_state(lab.source)


@pytest.mark.parametrize("mtime", [0, 1_600_000_000])
def test_a_file_that_could_be_read_in_part_is_told_and_read_again(
    lab: FaultyLab, monkeypatch: pytest.MonkeyPatch, mtime: int
) -> None:
    content = noise(3_000_000, 1)
    lab.put("srv/bad", content)
    settle(lab)
    os.utime(lab.source / "srv/bad", (mtime, mtime))
    bad = os.stat(lab.source / "srv/bad").st_ino
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        if os.fstat(descriptor).st_ino == bad and os.lseek(descriptor, 0, os.SEEK_CUR) > 2 << 20:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data

    with monkeypatch.context() as patched:
        patched.setattr("tklbam_core.engine.native.members.os.read", read)
        result = lab.backup()
    assert result.unread == ("srv/bad: Input/output error",)
    again = lab.backup()
    assert again.unread == ()
    assert (lab.restore("again") / "srv/bad").read_bytes() == content


@pytest.mark.root
def test_another_users_files_are_told(lab: Lab) -> None:
    lab.backup()  # what that user may not read of Python is imported now
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # where another user may enter
        lab = Lab(Path(place) / "lab")
        lab.put("srv/secret", b"")
        lab.put("srv/closed/inside", b"")
        for path in [Path(place), *Path(place).rglob("*")]:
            os.chown(path, 1234, 1234)
        listed = lab.listed()
        os.chown(lab.source / "srv/secret", 0, 0)
        os.chmod(lab.source / "srv/secret", 0o600)
        os.chown(lab.source / "srv/closed", 0, 0)
        os.chmod(lab.source / "srv/closed", 0o700)
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.setgroups([])
                os.setgid(1234)
                os.setuid(1234)
                result = lab.backup(listed)
                assert result.unread == ("srv/closed/inside: Permission denied", "srv/secret: Permission denied")
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert lab.sessions() == 1


def children() -> list[int]:
    """Our worker processes."""
    found = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has ended
            if b"native.workers" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def test_a_killed_worker_fails_the_session_and_nothing_is_left(lab: FaultyLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ALONE", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    lab.put("srv/a", b"1")
    lab.backup()
    before = sorted(path.name for path in lab.store.iterdir())
    for number in range(12):
        lab.put(f"srv/big{number}", noise(1_200_000, number))
    killed: list[int] = []

    def kill(event: ProgressEvent) -> None:
        if not killed and event.done:
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(EngineError, match="ended early") as caught:
        lab.backup(progress=kill)
    assert killed
    assert "memory" in caught.value.remedy
    assert sorted(path.name for path in lab.store.iterdir()) == before
    assert (children(), lab.temporary_files()) == ([], [])
    assert lab.backup().session.kind == "incremental"
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_a_file_changed_again_in_the_same_second_is_in_the_next_session(lab: FaultyLab) -> None:
    """Same size, same second: only whoever remembers that it was fresh reads it again."""
    for _ in range(5):
        now = int(time.time()) + 1
        lab.put("srv/a", b"before")
        os.utime(lab.source / "srv/a", (now, now))
        lab.backup()
        if time.time() < now + 2:  # a slow machine may come too late
            break
    lab.put("srv/a", b"after!")
    os.utime(lab.source / "srv/a", (now, now))
    lab.backup()
    assert (lab.restore() / "srv/a").read_bytes() == b"after!"
    time.sleep(max(0.0, now + 2.1 - time.time()))
    lab.backup()
    assert lab.backup().changed_files == 0, "what has settled is not read for ever"


@pytest.mark.root
@pytest.mark.parametrize("place", ["temp", "cache"])
def test_a_disk_of_this_machine_that_becomes_full(lab: FaultyLab, place: str) -> None:
    size = {"temp": "5m", "cache": "60k"}[place]
    directory = lab.base / place
    with tmpfs(directory, size):
        lab.put("srv/a", b"1")
        first = lab.backup()
        before = sorted(path.name for path in lab.store.iterdir())
        if place == "temp":
            ballast = directory / "ballast"
            lab.fault = lambda name: void(ballast.write_bytes(noise(3_500_000, 7)))
            lab.put("srv/b", noise(6_000_000, 2))
        else:
            for number in range(2000):
                lab.put(f"srv/many/{number}", noise(600, number))  # signatures that do not compress
        with pytest.raises(SpaceError) as caught:
            lab.backup()
        assert str(directory) in caught.value.what
        assert sorted(path.name for path in lab.store.iterdir()) == before
        assert lab.engine.chains(lab.target)[0].sessions == (first.session,)
        lab.fault = lambda name: None
        (directory / "ballast").unlink(missing_ok=True)
        shutil.rmtree(lab.source / "srv")
        again = lab.backup()
        assert again.session.kind == "incremental"
        assert tree_state(lab.restore()) == tree_state(lab.source)


@pytest.mark.root
def test_a_cache_that_is_full_to_the_last_byte(lab: FaultyLab) -> None:
    """The session is on the target by then, and the cache is nothing precious."""
    with tmpfs(lab.cache, "200k"):
        lab.put("srv/a", b"1")
        lab.backup()
        ballast = lab.cache / "ballast"

        def fill(name: str) -> None:
            if "manifest" in name:
                with contextlib.suppress(OSError), ballast.open("wb", 0) as out:
                    while True:
                        out.write(bytes(4096))

        lab.fault = fill
        lab.put("srv/b", b"2")
        try:
            lab.backup()
        except TklbamError as error:
            assert str(lab.cache) in error.what  # noqa: PT017 - either is right
        ballast.unlink()
        lab.fault = lambda name: None
        lab.put("srv/c", b"3")
        assert lab.backup().session.kind == "incremental"
        assert tree_state(lab.restore()) == tree_state(lab.source)


def test_killed_at_every_step_the_next_session_is_right(tmp_path: Path) -> None:
    """Full sessions and increments in turn."""
    lab = Lab(tmp_path / "first")
    lab.put("srv/a", noise(300_000, 1))
    settle(lab)
    lab.backup()
    lab.put("srv/b", noise(1_200_000, 2))
    lab.put("srv/a", noise(299_000, 1))
    current = [lab]
    steps, odd = 0, random.randrange(2)

    def prepare() -> None:
        if current[0] is not lab:
            shutil.rmtree(current[0].base)
        current[0] = lab.copy(tmp_path / f"step{steps}")

    def work() -> None:
        current[0].engine.write(current[0].target, current[0].request(full=steps % 2 == odd))

    to_go_on = set(random.sample(range(40), 3))
    for step in killed_at_every_step(work, prepare, tmp_path):
        steps = step + 1
        here = current[0]
        found = here.sessions()
        here.prepare()
        # A whole session whose manifest was not yet noted here is found to be one.
        sessions = here.sessions()
        assert 1 <= found <= sessions <= 2
        # One that was killed before it had a lock can't be told from one that is being made.
        assert all(not (here.base / "temp" / left / "lock").exists() for left in here.temporary_files())
        if found == sessions and step not in to_go_on:
            continue
        here.put("srv/c", b"3")
        result = here.engine.write(here.target, here.request())
        assert (result.session.kind, result.warnings) == ("incremental", ())
        assert here.sessions() == sessions + 1
        assert tree_state(here.restore()) == tree_state(here.source)
    assert steps > 15
    assert sessions == 2


def test_without_isa_l_the_standard_library_does_it(lab: FaultyLab) -> None:
    """Where isal is not installed; and what one wrote the other reads."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.modules['isal'] = None\n"
        "from tests.engine_support import _Existing\n"
        "from tklbam_core.engine.native import deflate\n"
        "assert deflate._library.__name__ == 'zlib'\n"
        f"_Existing(Path({str(lab.base)!r})).backup()\n"
    )
    for number in range(3):
        lab.put("srv/a", noise(400_000, 1) + b"%d" % number)
        if number == 1:
            lab.backup()
        else:
            subprocess.run([sys.executable, "-c", script], cwd=HERE, check=True)
    assert lab.sessions() == 3
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_a_clock_that_is_behind_is_told_and_the_chain_goes_on(lab: FaultyLab) -> None:
    """The last session is of next year, and all of it is known here."""
    lab.backup()
    future = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
    for path in [*lab.store.iterdir(), *lab.cache.glob("*/duplicity-*")]:
        old = path.name.split(".")[1]
        path.rename(path.with_name(path.name.replace(old, f"{future:%Y%m%dT%H%M%SZ}")))
    lab.put("etc/later", b"later")
    result = lab.backup()
    assert (result.session.kind, result.session.time) == ("incremental", future + timedelta(seconds=1))
    assert any("clock" in line for line in result.warnings)
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_what_a_killed_run_left_in_the_cache_alone_does_not_mislead_duplicity(lab: FaultyLab) -> None:
    """It was killed before its first volume was there, and then duplicity takes over, which would go on with it."""
    last = f"{lab.backup().session.time:%Y%m%dT%H%M%SZ}"
    (directory,) = (path for path in lab.cache.iterdir() if path.is_dir())
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    (directory / f"duplicity-inc.{last}.to.{now}.manifest.part").touch()
    left = directory / f"duplicity-new-signatures.{last}.to.{now}.sigtar.part.gz"
    left.write_bytes(gzip.compress(b"")[:10])
    lab.put("srv/a", b"1")
    duplicity = DuplicityEngine(lab.cache, lab.base / "temp", native=False)
    assert duplicity.write(lab.target, lab.request()).session.kind == "incremental"
    assert not left.exists()
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_a_file_written_to_just_after_it_was_looked_at_is_read_again(lab: FaultyLab) -> None:
    place = lab.source / "srv/a"
    lab.put("srv/a", b"before")
    settle(lab)
    member = one(place)
    place.write_bytes(b"after it")
    now = int(place.stat().st_mtime)
    header = read_header(_reader(packed(member).signatures))
    assert header is not None
    assert header.mtime not in (member.mtime, now)
