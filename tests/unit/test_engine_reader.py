"""Our own reader gives back what was there, as duplicity does, whoever wrote it and however it is encrypted."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.unit.crafting import gpg, member, store, tar
from tklbam_core.api.errors import EngineError, TklbamError
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest, NotInArchiveError
from tklbam_core.engine.native import librsync
from tklbam_core.engine.native.decryption import UnsupportedMessageError, WrongPassphraseError, plain_text
from tklbam_core.engine.native.openpgp import LITERAL, STRONG, Encryptor
from tklbam_core.engine.native.patching import patched
from tklbam_core.engine.native.tarheader import DIRECTORY
from tklbam_core.engine.program import Program

State = dict[bytes, tuple[object, ...]]
PART = 1 << 16
NAMES = [b"a", b"a b", b"a!", b"a\n", "ü中".encode(), b"x" * 255, b"\\x41", b" ", b"-rf", b'"']


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def state(root: Path) -> State:
    """The times of devices count for nothing, the root for its mode and time."""
    found: State = {}
    for path, (mode, uid, gid, mtime, content) in tree_state(root).items():
        device = os.lstat(os.fsencode(root) + b"/" + path).st_rdev
        found[path] = (mode, uid, gid, None if device else mtime, content, device)
    status = root.stat()
    return {**found, b"": (status.st_mode, status.st_uid, status.st_gid, int(status.st_mtime))}


class Alone(DuplicityEngine):
    """Has no duplicity to fall back on."""

    @property
    def program(self) -> Program:
        raise AssertionError("duplicity was asked for")


def read_both(lab: Lab, **wanted: Any) -> Iterator[State]:
    """By our own reader, and by duplicity."""
    restored = lab.base / "restored"
    for kind in (Alone, DuplicityEngine):
        engine = kind(lab.cache, lab.base / "temp", native=kind is Alone)
        engine.fetch(lab.target, FetchRequest(destination=restored, secret=SECRET, **wanted))
        yield state(restored)
        shutil.rmtree(restored)


def remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def make(place: Path, kind: int, seed: int) -> None:
    """One of six kinds, different for each seed; what lay there goes."""
    remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == 0:
        place.mkdir(mode=0o700)
        (place / "inner").write_bytes(noise(10 + seed, seed))
        place.chmod(0o2750 if seed % 2 else 0o1777)
    elif kind == 1:
        place.symlink_to("y" * (95 + seed))
    elif kind == 2:
        os.mkfifo(place)
        place.chmod(0o640)
    elif kind == 3 and os.geteuid() == 0:
        os.mknod(place, (stat.S_IFCHR if seed % 2 else stat.S_IFBLK) | 0o640, os.makedev(1 + seed, 3))
    else:
        place.write_bytes(noise((0, 1, PART - 1, PART, PART + 1, 200_000)[seed % 6], seed))
        place.chmod(0o4755 if seed % 2 else 0o600)


def settle(root: Path, when: int) -> None:
    """Times that differ from round to round: duplicity does not see what changes within a second."""
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink() and path.lstat().st_mtime > 1_700_000_000:
            os.utime(path, (when, when))


def change(lab: Lab, number: int) -> State:
    chance = random.Random(number)
    for at, name in enumerate(NAMES):
        make(lab.source / "k" / os.fsdecode(name), (at + number) % 6, at + number)
        lab.put(b"n/" + name + b"/f", name * (number + 1))
    for at, size in enumerate((PART - 1, PART, PART + 1, 3 * PART, 1_500_000)):
        lab.put(f"sizes/{at}", noise(number + 1, number) + noise(size, 5)[number * 7 :])
    lab.put("sizes/same", noise(PART, 1))
    (lab.source / "sizes/0").chmod(0o600 + number)
    if os.geteuid() == 0:
        for path in lab.source.rglob("*"):
            os.chown(path, chance.choice((0, 1000, 2**31)), chance.choice((0, 100, 2**32 - 2)), follow_symlinks=False)
    (lab.extras / "fsdelta").write_text(f"#tklbam {number}\n")
    settle(lab.source, 1_600_000_000 + 10 * number)
    return state(lab.source)


@pytest.mark.parametrize("ours", [(True, True, True), (True, False, True)], ids=["our chain", "a mixed chain"])
def test_every_state_comes_back_as_it_was_and_as_duplicity_gives_it(lab: Lab, ours: tuple[bool, ...]) -> None:
    written = []
    for number, native in enumerate(ours):
        expected = change(lab, number)
        lab.native = native
        result = lab.backup()
        assert not result.unread
        written.append((result.session, expected))
    assert [session.kind for session, _ in written] == ["full", "incremental", "incremental"]
    for session, expected in written:
        for found in read_both(lab, time=session.time):
            assert found == expected
    extras = {b"fsdelta": written[-1][1][b"TKLBAM/fsdelta"], b"": written[-1][1][b"TKLBAM"][:4]}
    assert [found == extras for found in read_both(lab, path="TKLBAM")] == [True, True]


def test_parts_come_with_the_directories_they_lie_in_and_nothing_else(lab: Lab) -> None:
    states, sessions = [], []
    for number in range(3):
        change(lab, number)
        lab.put(f"deep/{'a/' * number}b/c", noise(2_500_000, number))
        (lab.source / "deep").chmod(0o711 + number)
        settle(lab.source, 1_600_000_005 + 10 * number)
        states.append(state(lab.source))
        sessions.append(lab.backup().session)
    within = ("k/a b", "k/a\n", "n/a!/f", "deep/a/b", "sizes", "not/there", "deep/b/c/d")
    asked = {kind: kind(lab.cache, lab.base / "temp", native=kind is Alone) for kind in (Alone, DuplicityEngine)}
    for session, expected in zip(sessions, states, strict=True):
        above = {b"", b"k", b"n", b"n/a!", b"deep", b"deep/a", b"deep/b", b"deep/b/c"}
        parts = {
            path: value
            for path, value in expected.items()
            if path in above or any((path + b"/").startswith(os.fsencode(each) + b"/") for each in within)
        }
        for kind, engine in asked.items():
            place = lab.base / f"{session.time:%s}-{kind.__name__}"
            request = FetchRequest(destination=place, secret=SECRET, within=within, time=session.time)
            engine.fetch(lab.target, request)
            assert state(place) == (parts if kind is Alone else expected)


def test_paths_that_no_system_call_takes_whole(lab: Lab) -> None:
    for number in range(2):
        lab.put("/".join(["d" * 190] * 19) + "/file", b"deep %d" % number)
        lab.put("/".join(["e"] * 400) + "/file", b"deeper %d" % number)
        lab.backup()
    restored = lab.restore("/".join(["r" * 200] * 15))
    found = {}
    for _, _, files, descriptor in os.fwalk(dir_fd=os.open(restored, os.O_RDONLY), top="."):
        for name in files:
            with open(os.open(name, os.O_RDONLY, dir_fd=descriptor), "rb") as file:
                found[file.read()] = name
    assert len(str(restored)) > 3000
    assert {b"deep 1", b"deeper 1"} < found.keys()


SIZES = st.tuples(st.sampled_from([0, 1, 3000, PART, 150_000]), st.integers(0, 3))
PATHS = st.lists(st.sampled_from(["a", "a b", "a!", "b", "ü"]), min_size=1, max_size=3).map("/".join)
CHANGES = st.dictionaries(PATHS, st.one_of(SIZES, st.integers(0, 3), st.just("nothing")), min_size=1, max_size=10)


@settings(max_examples=3)
@given(rounds=st.lists(CHANGES, min_size=3, max_size=4), back=st.integers(0, 3), ours=st.integers(0, 15))
def test_any_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[dict[str, object]], back: int, ours: int
) -> None:
    lab = Lab(tmp_path_factory.mktemp("any"))
    written = []
    for number, changes in enumerate(rounds):
        for path, what in changes.items():
            place = lab.source / "t" / path
            for above in [each for each in reversed(place.parents) if each.is_relative_to(lab.source / "t")]:
                if not above.is_dir() or above.is_symlink():
                    remove(above)
                    above.mkdir()
            if isinstance(what, tuple):
                remove(place)
                place.write_bytes(b"%d" % number + noise(*what))
            elif isinstance(what, int):
                make(place, what, number)
            else:
                remove(place)
        settle(lab.source, 1_600_000_000 + 10 * number)
        lab.native = bool(ours >> number & 1)
        written.append((lab.backup().session, state(lab.source)))
    for number in {len(written) - 1, back % len(written)}:
        session, expected = written[number]
        assert [found == expected for found in read_both(lab, time=session.time)] == [True, True]
    shutil.rmtree(lab.base)


# --- what is encrypted otherwise

OPTIONS = {
    "as gpg does it": (),
    "AES128, SHA1, nothing compressed": (
        "--cipher-algo",
        "AES",
        "--s2k-digest-algo",
        "SHA1",
        "--compress-algo",
        "none",
    ),
    "AES192, SHA512, zlib": ("--cipher-algo", "AES192", "--s2k-digest-algo", "SHA512", "--compress-algo", "zlib"),
    "AES256, SHA1, bzip2": ("--cipher-algo", "AES256", "--s2k-digest-algo", "SHA1", "--compress-algo", "bzip2"),
    "a simple key": ("--cipher-algo", "AES256", "--s2k-mode", "0"),
    "a salted key": ("--cipher-algo", "AES256", "--s2k-mode", "1"),
    "a salted key by SHA224": ("--cipher-algo", "AES192", "--s2k-mode", "1", "--s2k-digest-algo", "SHA224"),
    "stretched": ("--cipher-algo", "AES256", "--s2k-count", "65011712"),
}


def test_whatever_gpg_makes_of_aes_is_read() -> None:
    plain = noise(300_000, 1) + bytes(2_500_000) + b"end"
    with gpg() as encrypted:
        for name, options in OPTIONS.items():
            message = encrypted(plain, "--s2k-count", "1088", *options, secret="weak ü")
            assert b"".join(plain_text(io.BytesIO(message).read, "weak ü")) == plain, name
        assert b"".join(plain_text(io.BytesIO(encrypted(b"")).read, SECRET)) == b""
        with pytest.raises(WrongPassphraseError):
            b"".join(plain_text(io.BytesIO(encrypted(b"x")).read, "weak"))
        for odd in (("--cipher-algo", "3DES"), ("--cipher-algo", "CAST5"), ("--s2k-digest-algo", "RIPEMD160")):
            with pytest.raises(UnsupportedMessageError):
                b"".join(plain_text(io.BytesIO(encrypted(b"x", *odd)).read, SECRET))


@pytest.mark.parametrize("beyond", [-9, -1, 0, 1, 7, 200])
def test_what_decompression_holds_back_at_the_end_is_read(beyond: int) -> None:
    """A piece that is full when all of the data was taken is not the last one."""
    most = 1 << 14
    for times in (1, 5):
        data = bytes(times * most + beyond)
        out, packer = io.BytesIO(), zlib.compressobj(6, zlib.DEFLATED, -15)
        encryptor = Encryptor(out, SECRET, STRONG)
        encryptor.update(packer.compress(LITERAL + data) + packer.flush())
        encryptor.finish()
        assert b"".join(plain_text(io.BytesIO(out.getvalue()).read, SECRET, most)) == data


MEMBERS = tar(member(b"snapshot/a/", kind=DIRECTORY, mode=0o750), member(b"snapshot/a/file", b"content", mode=0o640))


@pytest.mark.parametrize("ending", [".gpg", ".gz", ""], ids=["CAST5", "gzip", "plain"])
def test_duplicity_reads_what_we_do_not(lab: Lab, ending: str) -> None:
    with gpg() as encrypted:
        ways: dict[str, Callable[[bytes], bytes]] = {
            ".gpg": lambda data: encrypted(data, "--cipher-algo", "CAST5", "--s2k-count", "1088"),
            ".gz": gzipped,
            "": bytes,
        }
        store(lab, [MEMBERS], encrypted=ways[ending], ending=ending)
    restored = lab.restore()
    assert (restored / "a/file").read_bytes() == b"content"
    assert stat.S_IMODE((restored / "a").stat().st_mode) == 0o750


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def test_nothing_stays_of_what_was_read_before_something_that_is_not(lab: Lab) -> None:
    """However deep it is: duplicity needs an empty directory."""
    first = tar(member(b"snapshot/" + b"e/" * 1500 + b"f", b"x"))
    with gpg() as encrypted:
        ciphers = iter(["AES256", "CAST5", "AES256", "AES256"])
        options = ("--s2k-count", "1088", "--cipher-algo")
        store(lab, [first, MEMBERS], encrypted=lambda data: encrypted(data, *options, next(ciphers)))
    with pytest.raises(TklbamError, match=r"File name too long|No such file"):
        lab.restore()  # duplicity can't go that deep


def test_only_a_directory_becomes_the_destination(lab: Lab) -> None:
    store(lab, [MEMBERS])
    assert os.listdir(lab.restore("directory", path="a")) == ["file"]
    with pytest.raises(EngineError, match="a/file is no directory"):
        lab.restore("file", path="a/file")
    with pytest.raises(NotInArchiveError):
        lab.restore("none", path="a/missing")


# --- deltas


@pytest.mark.parametrize("pieces", [1, 7, PART])
def test_deltas_are_applied_as_librsync_means_them(tmp_path: Path, pieces: int) -> None:
    chance = random.Random(pieces)
    for round_ in range(10 if pieces > 1 else 1):
        old = chance.randbytes(chance.choice((0, 10, 5000, 400_000)))
        new = bytearray(old + chance.randbytes(chance.choice((0, 1, 64, 65, 70_000))))
        for _ in range(chance.randrange(6)):
            at = chance.randrange(len(new) + 1)
            new[at : at + chance.randrange(3000)] = chance.randbytes(chance.randrange(300))
        signed = librsync.Signature(len(old))
        signed.update(old)
        made = b"".join(librsync.delta(signed.value(), [bytes(new)]))
        (tmp_path / "old").write_bytes(old)
        with open(tmp_path / "old", "rb") as basis:
            parts = (made[at : at + pieces] for at in range(0, len(made), pieces))
            assert b"".join(patched(basis, parts)) == new, round_
