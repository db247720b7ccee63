"""Our own reader and archives that no writer made: nothing leaves the destination, nothing hangs, memory stays flat."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.unit.crafting import by_ourselves, copy_command, delta, member, numbered, store, tar
from tklbam_core.api.errors import ArchiveError, UnsafePathError
from tklbam_core.engine.native.extract import Failure, Order, extract
from tklbam_core.engine.native.placing import UnsafeNameError
from tklbam_core.engine.native.tarheader import CHARACTER, DIRECTORY, SYMLINK, format_header

Sessions = list[list[bytes]]


class Reading:
    """The program that restores, in this process and without walls: what it does not do by itself nothing stops."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.restored = base / "restored"
        self.unread: list[str] = []
        for name in ("volumes", "scratch", "restored"):
            (base / name).mkdir()

    def again(self) -> None:
        """An empty destination."""
        shutil.rmtree(self.restored)
        self.restored.mkdir()

    def order(self, sessions: Sessions, encrypted: Callable[[bytes], bytes] = by_ourselves) -> Order:
        volumes = []
        for number, plain in enumerate(sessions):
            volumes.append([(str(self.base / f"volumes/{number}-{part}"), "") for part in range(len(plain))])
            for (path, _), data in zip(volumes[-1], plain, strict=True):
                Path(path).write_bytes(encrypted(data))
        places = {"destination": str(self.restored), "scratch": str(self.base / "scratch")}
        return Order(sessions=volumes, path="", own=os.geteuid() == 0, secret=SECRET, **places)

    def read(self, *sessions: list[bytes], encrypted: Callable[[bytes], bytes] = by_ourselves) -> int:
        def say(**record: object) -> None:
            if "unread" in record:
                self.unread.append(": ".join(record["unread"]))  # type: ignore[arg-type]

        return extract(self.order(list(sessions), encrypted), say)


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    return Reading(tmp_path)


def full(*members: bytes, end: bool = True) -> Sessions:
    return [[tar(*members, end=end)]]


def then(*members: bytes) -> Sessions:
    """A file `f` and a directory `d`, and a session after it."""
    return [[tar(member(b"snapshot/d/", kind=DIRECTORY), member(b"snapshot/f", b"0123456789"))], [tar(*members)]]


PART = bytes(1 << 16)
LONG = format_header(b"././@LongLink", b"L", 0, 0, 0, 2 << 20, 0)
MALFORMED: dict[str, tuple[Sessions, str]] = {
    "out of order": (full(member(b"snapshot/b"), member(b"snapshot/a")), "comes out of order"),
    "a child after its parent's sibling": (
        full(member(b"snapshot/a", kind=DIRECTORY), member(b"snapshot/b"), member(b"snapshot/a/x")),
        "comes out of order",
    ),
    "the same path twice": (full(member(b"snapshot/a"), member(b"snapshot/a")), "comes out of order"),
    "the source twice": ([[tar(tar(end=False))]], "comes out of order"),
    "parts from the second on": (full(member(b"multivol_snapshot/a/2", PART)), "begins with its part 2"),
    "a part missing": (
        full(member(b"multivol_snapshot/a/1", PART), member(b"multivol_snapshot/a/3", b"x")),
        "lacks its part 2",
    ),
    "a last part missing": (full(member(b"multivol_snapshot/a/1", PART), member(b"snapshot/b")), "lacks its end"),
    "the very last part missing": (full(member(b"multivol_snapshot/a/1", PART)), "lacks its end"),
    "a part missing between volumes": (
        [[tar(member(b"multivol_snapshot/a/1", PART)), tar(member(b"multivol_snapshot/a/3"), root=False)]],
        "lacks its part 2",
    ),
    "parts with something between": (
        full(member(b"multivol_snapshot/a/1", PART), member(b"snapshot/a!"), member(b"multivol_snapshot/a/2", b"x")),
        "lacks its end",
    ),
    "a part without a number": (full(member(b"multivol_snapshot/a/x")), "it holds"),
    "an unknown word": (full(member(b"signature/a")), "it holds"),
    "no word": (full(member(b"a")), "it holds"),
    "a change of nothing": (full(member(b"diff/a", delta())), "is a change of nothing"),
    "a change of what is gone": ([*then(member(b"deleted/f")), [tar(member(b"diff/f", delta()))]], "change of nothing"),
    "a change of a directory": (then(member(b"diff/d", delta())), "is no file"),
    "a change that is a directory": (then(member(b"diff/f", kind=DIRECTORY)), "is no file"),
    "a source that is a file": ([[tar(member(b"snapshot/", b"x"), root=False)]], "is no directory"),
    "a hard link": (full(member(b"snapshot/a", kind=b"1", link=b"/etc/passwd")), "of no kind"),
    "a sparse file": (full(member(b"snapshot/a", kind=b"S")), "of no kind"),
    "no end": (full(member(b"snapshot/a", b"x"), end=False), "cut short"),
    "an end in the middle of content": (full(member(b"snapshot/a", PART)[:9000], end=False), "cut short"),
    "an end in the middle of a header": (full(member(b"snapshot/a")[:300], end=False), "cut short"),
    "nothing at all": ([[b""]], "cut short"),
    "more than there is": (full(member(b"snapshot/a")[:124] + b"x"), "damaged"),
    "an absurd size": (full(numbered(member(b"snapshot/a"), 124, b"\x80" + b"\x7f" * 11)), "cut short"),
    "a negative size": (full(numbered(member(b"snapshot/a"), 124, b"\xff" * 12)), "negative"),
    "an absurdly long name": (full(LONG, bytes(2 << 20)), "absurdly long"),
    "a zero in a link": (full(member(b"snapshot/a", kind=SYMLINK, link=b"x\0y")), "embedded null"),
}
UNSAFE = {
    "dots": member(b"snapshot/../x"),
    "dots at the end": member(b"snapshot/a/..", kind=DIRECTORY),
    "a dot": member(b"snapshot/./a"),
    "two slashes": member(b"snapshot/a//b"),
    "the root": member(b"snapshot//etc/x"),
    "a zero": member(b"snapshot/a\0b"),
    "a zero above": member(b"snapshot/a\0b/c"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_fails_the_restore(reading: Reading, what: str) -> None:
    sessions, said = MALFORMED[what]
    with pytest.raises(ValueError, match=said):
        reading.read(*sessions)


@pytest.mark.parametrize("what", UNSAFE)
def test_names_that_lead_elsewhere_are_refused(reading: Reading, what: str) -> None:
    with pytest.raises(UnsafeNameError):
        reading.read(*full(UNSAFE[what]))
    assert sorted(os.listdir(reading.base)) == ["restored", "scratch", "volumes"]


def test_a_path_that_can_not_be_made_costs_only_itself(reading: Reading) -> None:
    odd = [
        numbered(member(b"snapshot/b", b"x"), 108, b"\x80" + b"\x7f" * 7),
        numbered(member(b"snapshot/c", kind=DIRECTORY), 108, b"\x80" + b"\x7f" * 7),
        member(b"snapshot/c/inside", b"kept"),
        member(b"snapshot/d", kind=CHARACTER, major=2**40),
        numbered(member(b"snapshot/e", b"x"), 136, b"\x80" + b"\x7f" * 11),
        member(b"snapshot/" + b"f" * 100_000, b"x"),
        member(b"snapshot/" + b"f" * 100_001 + b"/below", b"x"),
        member(b"snapshot/" + b"/".join([b"g" * 200] * 21), b"x"),
        member(b"snapshot/h\x1b[2J\n\xff", kind=SYMLINK, link=b"t" * 5000),
    ]
    control = member(b"snapshot/i\x1b[2J\r\n\x7f\xff", b"any byte will do")
    assert reading.read(*full(member(b"snapshot/a", b"before"), *odd, control)) == 12
    assert len(reading.unread) == 8
    assert all(line.isprintable() and len(line) < 5000 for line in reading.unread)
    assert (reading.restored / "a").read_bytes() == b"before"
    assert (reading.restored / "c/inside").read_bytes() == b"kept"
    assert (
        Path(os.fsdecode(os.fsencode(reading.restored) + b"/i\x1b[2J\r\n\x7f\xff")).read_bytes() == b"any byte will do"
    )


DELTAS = {
    "garbage": noise(300, 1),
    "nothing": b"",
    "cut short": delta(copy_command(0, 10), end=b""),
    "a copy from beyond": delta(copy_command(1 << 40, 4)),
    "a copy that goes beyond": delta(copy_command(0, 11)),
    "an endless copy": delta(copy_command(0, (1 << 64) - 1)),
    "a literal that is not there": delta(b"\x44" + (1 << 62).to_bytes(8, "big") + b"abc"),
    "an unknown command": delta(b"\xf0"),
    "more after its end": delta(copy_command(0, 10)) + b"more",
}


def test_a_delta_that_is_damaged_costs_only_its_file(reading: Reading) -> None:
    names = [b"%d" % number for number in range(len(DELTAS))]
    sessions = [
        [tar(*(member(b"snapshot/" + name, b"0123456789") for name in names), member(b"snapshot/good", b"0123456789"))],
        [
            tar(
                *(member(b"diff/" + name, each) for name, each in zip(names, DELTAS.values(), strict=True)),
                member(b"diff/good", delta(copy_command(4, 6), b"\x03new", copy_command(0, 1))),
            )
        ],
    ]
    reading.read(*sessions)
    assert len(reading.unread) == len(DELTAS)
    assert os.listdir(reading.restored) == ["good"]
    assert (reading.restored / "good").read_bytes() == b"456789new0"


def test_errors_are_told_as_such_from_behind_the_walls(tmp_path: Path) -> None:
    for number, (sessions, error, said) in enumerate(
        [
            (MALFORMED["a part missing"][0], ArchiveError, r"vol1\.difftar\.gpg at .* is damaged: .* lacks its part 2"),
            (full(UNSAFE["dots"]), UnsafePathError, "tries to write outside"),
            (full(member(b"snapshot/" + b"x" * 100_000)), ArchiveError, "1 files could not be restored"),
            (then(member(b"diff/f", DELTAS["garbage"])), ArchiveError, "its delta is damaged"),
        ]
    ):
        lab = Lab(tmp_path / str(number))
        store(lab, *sessions)
        with pytest.raises(error, match=said) as caught:
            lab.restore()
        assert SECRET not in str(caught.value)
        assert len(caught.value.what) < 10_000
        assert lab.temporary_files() == []


MEASURED = """
import json, sys
from pathlib import Path
from tklbam_core.engine.native.extract import Order, extract
extract(Order(**json.load(sys.stdin)), lambda **_: None)
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def peak(order: Order) -> float:
    """Megabytes that reading takes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    argv = [sys.executable, "-c", MEASURED]
    done = subprocess.run(
        argv, input=json.dumps(asdict(order)).encode(), env=environment, check=True, capture_output=True
    )
    return int(done.stdout.split()[1]) / 1024


def test_memory_stays_flat_whatever_comes_out_of_an_archive(tmp_path: Path) -> None:
    size = 100_000_000
    bombs = {
        "little": full(member(b"snapshot/a", b"x")),
        "zeros after the end": full(bytes(size)),
        "a delta of a few bytes": [
            [tar(member(b"snapshot/f", bytes(size)))],
            [tar(member(b"diff/f", delta(copy_command(0, size), copy_command(0, size // 2))))],
        ],
        "a long chain": [
            [tar(member(b"snapshot/f", bytes(4_000_000)))],
            *([[tar(member(b"diff/f", delta(copy_command(0, 4_000_000))), bytes(1024), bytes(2_000_000))]] * 60),
        ],
    }
    taken = {}
    for name, sessions in bombs.items():
        (tmp_path / name).mkdir()
        taken[name] = peak(Reading(tmp_path / name).order(sessions))
        shutil.rmtree(tmp_path / name)
    assert max(taken.values()) < taken["little"] + 45, taken


# --- bytes that are others


def sound() -> Sessions:
    """A chain with everything in it."""
    parts = [member(b"multivol_snapshot/p/%d" % number, noise(1 << 16, number)) for number in (1, 2)]
    first = [
        member(b"snapshot/d/", kind=DIRECTORY, mode=0o2750),
        member(b"snapshot/d/" + b"long" * 40, b"a long name"),
        member(b"snapshot/f", noise(3000, 1), mode=0o4755),
        member(b"snapshot/l", kind=SYMLINK, link=b"../outside"),
        member(b"snapshot/n", kind=b"6"),
        *parts,
        member(b"multivol_snapshot/p/3", b"end"),
    ]
    second = [
        member(b"deleted/d/" + b"long" * 40),
        member(b"diff/f", delta(copy_command(1000, 1500), b"\x0awas put in", copy_command(0, 2900))),
        member(b"snapshot/l", b"now a file"),
        member(b"diff/p", delta(copy_command(5, 131_000))),
    ]
    return [[tar(*first)], [tar(*second)]]


def test_a_byte_of_ciphertext_that_is_another_is_always_noticed(reading: Reading) -> None:
    order, chance = reading.order(sound()), random.Random(1)
    volume = Path(order.sessions[1][0][0])
    whole = volume.read_bytes()
    for position in [
        *range(40),
        *(chance.randrange(len(whole)) for _ in range(100)),
        *range(len(whole) - 25, len(whole)),
    ]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chance.randrange(8)
        volume.write_bytes(damaged)
        with pytest.raises((Failure, ValueError)) as caught:
            extract(order, lambda **_: None)
        assert getattr(caught.value, "name", volume.name) == volume.name, position
        reading.again()
    for length in [*range(60), len(whole) // 2, len(whole) - 1]:
        volume.write_bytes(whole[:length])
        with pytest.raises((Failure, ValueError)):
            extract(order, lambda **_: None)
        reading.again()


def mutated(plain: bytes, chance: random.Random) -> bytes:
    """Other bytes, blocks gone, doubled or exchanged; the sums of headers are often right all the same."""
    data = bytearray(plain)
    for _ in range(chance.randrange(1, 4)):
        block = chance.randrange(len(data) // 512) * 512
        other = chance.randrange(len(data) // 512) * 512
        way = chance.randrange(8)
        if way == 0:
            del data[block : block + 512]
        elif way == 1:
            data[block:block] = data[other : other + 512]
        elif way == 2:
            data[block : block + 512] = data[other : other + 512]
        elif way == 3:
            data = data[: block + chance.randrange(512)]
            data += bytes(-len(data) % 512 + 1024)
        else:
            headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
            if way < 7 and headers:
                block = chance.choice(headers)
            field = chance.choice([(0, 30), (100, 8), (108, 16), (124, 12), (136, 12), (156, 1), (157, 20), (329, 16)])
            for _ in range(chance.randrange(1, 4)):
                odd = chance.choice([0, 0x2E, 0x2F, 0x31, 0x35, 0x37, 0x4C, 0x78, 0x80, 0xFF, chance.randrange(256)])
                data[block + field[0] + chance.randrange(field[1])] = odd
            if way != 7 and data[block + 257 : block + 262] == b"ustar":
                data[block : block + 512] = numbered(bytes(data[block : block + 512]), 0, b"")
    return bytes(data)


def test_nonsense_under_a_sound_integrity_check_stays_inside(reading: Reading) -> None:
    outside = reading.base / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    before = tree_state(outside)
    sessions, chance, good, rounds = (
        sound(),
        random.Random(int(os.environ.get("SEED", "7"))),
        0,
        int(os.environ.get("ROUNDS", "300")),
    )
    for _ in range(rounds):
        number = chance.randrange(2)
        changed = [each if at != number else [mutated(each[0], chance)] for at, each in enumerate(sessions)]
        reading.unread.clear()
        with contextlib.suppress(Failure, ValueError):
            reading.read(*changed)
            good += 1
        assert tree_state(outside) == before
        assert sorted(os.listdir(reading.base)) == ["outside", "restored", "scratch", "volumes"]
        assert os.listdir(reading.base / "scratch") == []
        reading.again()
    assert rounds // 10 < good < rounds, "some are still read, and some are not"


def test_a_sound_one_is_read(reading: Reading) -> None:
    reading.read(*sound())
    assert sorted(os.listdir(reading.restored)) == ["d", "f", "l", "n", "p"]
    assert (reading.restored / "l").read_bytes() == b"now a file"
    assert stat.S_IMODE((reading.restored / "f").stat().st_mode) == 0o644
    assert reading.unread == []
