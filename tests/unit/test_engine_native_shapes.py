"""Content of every shape through several sessions of our own writer: each time comes back as it was."""

from __future__ import annotations

import io
import itertools
import os
import random
import shutil
import socket
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine_support import SECRET, Lab, noise, tree_state
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.native import librsync, workers
from tklbam_core.engine.native.members import Member, Packer
from tklbam_core.engine.native.tarheader import END, PIECE

SIZES = [0, 1, 511, 512, 513, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 7, 2_500_000]
KINDS = ["file", "large", "directory", "link", "fifo", "device", "socket", "nothing"]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def restored_by_duplicity(lab: Lab, name: str = "restored", **changes: object) -> Path:
    """Whoever restores otherwise: here it is duplicity."""
    engine = DuplicityEngine(lab.cache, lab.base / "temp", native=False)
    engine.fetch(lab.target, FetchRequest(destination=lab.base / name, secret=SECRET, **changes))  # type: ignore[arg-type]
    return lab.base / name


def make(place: bytes, kind: str, number: int) -> None:
    """Something of a kind, different for each number."""
    if kind in ("file", "large"):
        with open(place, "wb") as file:
            file.write(noise(number if kind == "file" else PIECE + number, number))
        os.chmod(place, 0o4755 if number % 2 else 0o600)
    elif kind == "directory":
        os.mkdir(place)
        os.mkdir(place + b"/inner")
        Path(os.fsdecode(place + b"/inner/file")).write_bytes(b"%d" % number)
        os.chmod(place, 0o1777 if number % 2 else 0o2750)
    elif kind == "link":
        os.symlink(b"x" * (95 + number), place)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "device":
        os.mknod(place, 0o020640 if number % 2 else 0o060640, os.makedev(1 + number, 0xFFFFF if number % 3 else 3))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/cwd/{os.path.relpath(os.fsdecode(place))}"[:107])


def remove(place: bytes) -> None:
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    elif os.path.lexists(place):
        os.unlink(place)


def state(root: Path) -> dict[bytes, tuple[object, ...]]:
    """What has to come back: times before 1970 come back as 1970, and sockets do not."""
    found: dict[bytes, tuple[object, ...]] = {}
    for path, (mode, uid, gid, mtime, content) in tree_state(root).items():
        status = os.lstat(os.fsencode(root) + b"/" + path)
        if not (mode and mode & 0o170000 == 0o140000):
            # The time of a device counts for nothing.
            noted = None if mtime is None or status.st_rdev else max(0, mtime)
            found[path] = (mode, uid, gid, noted, content, status.st_rdev)
    return found


def content(size: int, round_: int) -> bytes:
    """Grows, shrinks, and is shifted by a byte from session to session."""
    return (b"%d" % round_ + noise(size, 5))[:size]


@pytest.mark.root
def test_sizes_kinds_and_owners_through_four_sessions(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.source)  # names of sockets are short
    base = os.fsencode(lab.source)
    (lab.source / "k").mkdir()
    pairs = list(itertools.permutations(KINDS, 2))
    owners = [0, 1000, 0o7777777, 0o10000000, 2**31, 2**32 - 2]
    times = [0, -5, 1, 1_600_000_000, 2**31 + 5, 2**33 + 7, 2**33 + 10**8]
    rows = []
    for round_ in range(4):
        for number in range(len(SIZES)):
            lab.put(f"sizes/{number}", content(SIZES[(number + (0, 1, -2, 0)[round_]) % len(SIZES)], round_))
        for number, pair in enumerate(pairs):
            place = base + b"/k/%d" % number
            if round_ < 3:  # the last round changes none of these but their owners
                remove(place)
                make(place, pair[round_ % 2], number + round_)
        for number, path in enumerate([*lab.source.rglob("*")]):
            os.chown(path, owners[(number + round_) % 6], owners[number % 5], follow_symlinks=False)
            if not path.is_symlink():
                if path.is_file():
                    path.chmod(path.stat().st_mode & 0o777 | (0o6000 if number % 4 == 0 else 0))
                when = times[number % len(times)]
                os.utime(path, (when, when + round_ if when > 1 else when))
        result = lab.backup()
        assert not result.unread
        assert not result.vanished
        rows.append((result, state(lab.source)))
    assert [row[0].session.kind for row in rows] == ["full", *["incremental"] * 3]
    for number, (result, expected) in enumerate(rows):
        restored = restored_by_duplicity(lab, f"restored-{number}", time=result.session.time)
        assert state(restored) == expected
        shutil.rmtree(restored)


def test_names_as_long_and_as_odd_as_they_come(lab: Lab) -> None:
    deep = "/".join([*["d" * 200] * 18, "e" * 150])
    names = [
        "n" * 100,
        "n" * 101,
        "ü" * 127,
        "x" * 255,
        "y" * 89,
        "y" * 90,
        "y" * 91,
        deep,
        "new\nline",
        "\\x41",
        "...",
    ]
    for target in (99, 100, 101, 4000):
        os.symlink("t" * target, lab.source / f"link{target}")
    for round_ in range(2):
        for name in names:
            lab.put(f"srv/{name}", f"{round_}{name}".encode())
            lab.put(f"{name[:100]}.d/multi", noise(PIECE + 10 * round_, 3))
        result = lab.backup([*lab.listed(), b"/".join([b"z"] * 2100)])
        assert result.unread
        assert all(line.endswith(": File name too long") for line in result.unread)
    assert len(os.fsencode(lab.source / "srv" / deep)) > 3700
    assert result.session.kind == "incremental"
    assert tree_state(restored_by_duplicity(lab)) == tree_state(lab.source)


def test_a_delta_of_exactly_one_piece_is_not_taken_for_all(lab: Lab) -> None:
    old = b"old"
    signed = librsync.Signature(len(old))
    signed.update(old)
    signature = signed.value()
    contents = (noise(size, 1) for size in range(PIECE - 20, PIECE))
    new = next(each for each in contents if len(b"".join(librsync.delta(signature, [each]))) == PIECE)
    (lab.base / "new").write_bytes(new)
    member = Member(b"file", os.fsencode(lab.base / "new"), size=len(new), mtime=1, old=signature)
    names = [found.name for found in tar_of(list(Packer(1 << 20).pack([member])))]
    assert names == ["multivol_diff/file/1", "multivol_diff/file/2"]
    lab.put("file", old)
    lab.backup()
    lab.put("file", new)
    lab.backup()
    assert (restored_by_duplicity(lab) / "file").read_bytes() == new


def tar_of(parts: list[object]) -> Iterator[tarfile.TarInfo]:
    data = zlib.decompressobj(-15).decompress(b"".join(part.data for part in parts))  # type: ignore[attr-defined]
    with tarfile.open(fileobj=io.BytesIO(data + END)) as archive:
        yield from archive


def test_several_processors_write_the_same_bytes_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    all_members = []
    for number in range(2500):
        place = tmp_path / f"{number:05}"
        place.write_bytes(chance.randbytes(chance.choice((0, 10, 3000, 70_000 if number % 50 == 0 else 100))))
        old = None
        if number % 7 == 0:
            signed = librsync.Signature(100)
            signed.update(b"old" * number)
            old = signed.value()
        size = place.stat().st_size
        all_members.append(Member(b"%05d" % number, os.fsencode(place), size=size, mtime=5, seen=5, old=old))
    place.unlink()
    batches = [all_members[start : start + 200] for start in range(0, 2500, 200)]
    alone = list(workers.pack(batches, 1, 1 << 16))
    monkeypatch.setattr(workers, "ALONE", 0)
    assert list(workers.pack(batches, 3, 1 << 16)) == alone
    assert alone[-1].gone == (b"02499",)
    names = [found.name for found in tar_of(alone)]  # type: ignore[arg-type]
    assert len(names) > 2500
    assert [name.split("/")[1] for name in names] == sorted(name.split("/")[1] for name in names)


NAMES = st.sampled_from(["a", "a b", "a\n", "a!", "ab", "b", "ü"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENT = st.tuples(st.sampled_from([0, 1, 600, PIECE, 200_000]), st.integers(0, 3))
WHAT = st.one_of(CONTENT, CONTENT, st.sampled_from(["directory", "link", "fifo", "nothing", "nothing"]))


@settings(max_examples=4)
@given(st.lists(st.dictionaries(PATHS, WHAT, max_size=12), min_size=3, max_size=4), st.integers(0, 3))
def test_any_small_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[dict[str, object]], look_back: int
) -> None:
    """Each round puts things over what the last ones left."""
    lab = Lab(tmp_path_factory.mktemp("any"))
    written = []
    for round_, changes in enumerate(rounds):
        for path, what in changes.items():
            place = os.fsencode(lab.source / "t" / path)
            for parent in reversed(Path(path).parents):
                above = lab.source / "t" / parent
                if not above.is_dir() or above.is_symlink():
                    remove(os.fsencode(above))
                    above.mkdir()
            remove(place)
            if isinstance(what, tuple):
                Path(os.fsdecode(place)).write_bytes(content(what[0], what[1]))
            else:
                make(place, str(what), round_)
        written.append((lab.backup().session, tree_state(lab.source)))
    for session, expected in {0: written[-1], 1: written[look_back % len(written)]}.values():
        restored = restored_by_duplicity(lab, "restored", time=session.time)
        assert tree_state(restored) == expected
        shutil.rmtree(restored)
    shutil.rmtree(lab.base)


def test_thousands_of_small_files_come_and_go(lab: Lab) -> None:
    for number in range(3000):
        lab.put(f"srv/{number % 37}/{number}", b"%d" % number)
    lab.backup()
    for number in range(0, 3000, 3):
        (lab.source / f"srv/{number % 37}/{number}").unlink()
    for number in range(1, 3000, 3):
        lab.put(f"srv/{number % 37}/{number}", b"changed %d" % number)
    chance = random.Random(2)
    listed = lab.listed()
    chance.shuffle(listed)  # a list that no scan wrote
    result = lab.backup(listed)
    assert result.deleted_files == 1000
    assert result.source_files == len(listed) + 3
    assert tree_state(restored_by_duplicity(lab)) == tree_state(lab.source)
    assert lab.engine.verify(lab.target, result.session, SECRET).ok
