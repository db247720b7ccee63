"""The pieces of duplicity's format that we write ourselves, against those who read them: tarfile, gpg, duplicity."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import itertools
import os
import random
import resource
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from duplicity import librsync as theirs  # type: ignore[import-untyped]
from duplicity.diffdir import get_block_size  # type: ignore[import-untyped]
from duplicity.manifest import Quote, VolumeInfo  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine_support import SECRET, noise
from tklbam_core.engine.manifest import Manifest, format_volume, parse_manifest
from tklbam_core.engine.native import deflate, librsync
from tklbam_core.engine.native.openpgp import LITERAL, STRONG, WEAK, Encryptor, derive_key, encrypt
from tklbam_core.engine.native.selection import select, sort_list
from tklbam_core.engine.native.signatures import DamagedSignaturesError, SignatureFile, order_of, read_chain
from tklbam_core.engine.native.tarheader import (
    CHARACTER,
    DEVICE,
    DIRECTORY,
    END,
    FIFO,
    FILE,
    SYMLINK,
    Header,
    format_header,
    padding,
    read_header,
)
from tklbam_core.engine.outcome import Outcome

PART = 1 << 16
few = settings(max_examples=150, deadline=None)

COMPONENT = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {0, 47} & set(name) and name not in (b".", b"..")
)
LENGTHS = st.sampled_from([1, 98, 99, 100, 101, 155, 156, 255, 256, 511, 512, 513, 4200])
PATH = st.lists(COMPONENT, min_size=1, max_size=4).map(b"/".join) | LENGTHS.map(lambda size: b"x" * size)
ID = st.sampled_from([0, 1000, 0o7777777]) | st.sampled_from([0o10000000, 2**31, 2**32 - 2])
SIZE = st.sampled_from([0, 1, 65536, 0o77777777777]) | st.sampled_from([0o100000000000, 2**60])
TIME = st.sampled_from([0, 1_600_000_000, 0o77777777777]) | st.sampled_from([-(2**40), -1, 0o100000000000])
HEADER = st.builds(
    Header,
    name=PATH,
    kind=st.sampled_from([FILE, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO]),
    mode=st.integers(0, 0o7777),
    uid=ID,
    gid=ID,
    size=SIZE,
    mtime=TIME,
    link=PATH,
    major=ID,
    minor=ID,
).map(
    lambda header: header._replace(
        size=header.size if header.kind == FILE else 0,
        link=header.link if header.kind == SYMLINK else b"",
        major=header.major if header.kind in (CHARACTER, DEVICE) else 0,
        minor=header.minor if header.kind in (CHARACTER, DEVICE) else 0,
    )
)
NAME = st.text("abcü", max_size=40).map(str.encode)


def from_tarfile(found: tarfile.TarInfo) -> Header:
    device = found.type in (CHARACTER, DEVICE)
    return Header(
        os.fsencode(found.name),
        found.type,
        found.mode,
        found.uid,
        found.gid,
        found.size,
        int(found.mtime),
        os.fsencode(found.linkname),
        found.devmajor if device else 0,
        found.devminor if device else 0,
    )


def check_header(header: Header, owner: bytes = b"", group: bytes = b"") -> None:
    """tarfile and we read the same."""
    fields = header._asdict()
    made = format_header(*[fields.pop(key) for key in Header._fields[:7]], owner=owner, group=group, **fields)
    assert len(made) % 512 == 0
    stream = io.BytesIO(made + END)
    with tarfile.open(fileobj=stream, mode="r:", errors="surrogateescape", encoding="utf-8") as archive:
        found = archive.next()
    assert found is not None
    assert from_tarfile(found) == header._replace(name=header.name.rstrip(b"/"))
    assert (os.fsencode(found.uname), os.fsencode(found.gname)) == (owner[:31], group[:31])
    read = read_header(io.BytesIO(made).read)
    assert read is not None
    assert read._replace(name=read.name.rstrip(b"/")) == header


@few
@given(HEADER, NAME, NAME)
def test_tarfile_reads_the_headers_that_we_write(header: Header, owner: bytes, group: bytes) -> None:
    check_header(header, owner, group)


@pytest.mark.parametrize("kind", [FILE, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO])
def test_headers_where_names_and_numbers_cease_to_fit(kind: bytes) -> None:
    plain = Header(b"n", kind, 0o4755, 1, 2, 0, 3, b"", 0, 0)
    links = (99, 100, 101) if kind == SYMLINK else (0,)
    for name, link in itertools.product((98, 99, 100, 101), links):
        check_header(plain._replace(name=b"n" * name, link=b"l" * link))
    for number in (0o7777777, 0o10000000):
        device = {"major": number, "minor": number} if kind in (CHARACTER, DEVICE) else {}
        for fields in ({"uid": number}, {"gid": number}, device):
            check_header(plain._replace(**fields))  # type: ignore[arg-type]
    for number in (-1, 0, 0o77777777777, 0o100000000000):
        check_header(plain._replace(mtime=number, size=max(0, number) if kind == FILE else 0))


@few
@given(HEADER, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_we_read_the_headers_that_tarfile_writes(header: Header, how: Any) -> None:
    info = tarfile.TarInfo(os.fsdecode(header.name))
    info.type, info.mode, info.uid, info.gid = header.kind, header.mode, header.uid, header.gid
    info.size, info.mtime, info.linkname = header.size, header.mtime, os.fsdecode(header.link)
    # The devices of Linux; pax has no more room for them, nor has it records for them.
    info.devmajor, info.devminor = header.major & 0xFFF, header.minor & 0xFFFFF
    made = info.tobuf(how, "utf-8", "surrogateescape")
    read = read_header(io.BytesIO(made).read)
    assert read is not None
    assert read._replace(name=read.name.rstrip(b"/")) == header._replace(major=info.devmajor, minor=info.devminor)


@few
@given(HEADER, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.data())
def test_damaged_headers_are_a_value_error_or_another_header(header: Header, how: Any, data: Any) -> None:
    info = tarfile.TarInfo(os.fsdecode(header.name))
    info.type, info.uid, info.size, info.mtime = header.kind, header.uid, header.size, header.mtime
    made = bytearray(info.tobuf(how, "utf-8", "surrogateescape"))
    position = data.draw(st.integers(0, len(made) - 1))
    made[position] ^= 1 << data.draw(st.integers(0, 7))
    asked: list[int] = []
    stream = io.BytesIO(bytes(made) + END)

    def read(size: int) -> bytes:
        asked.append(size)
        return stream.read(size)

    with contextlib.suppress(ValueError):
        read_header(read)
    assert min(asked) >= 0
    assert max(asked) <= 1 << 20


def block(**fields: bytes) -> bytes:
    """A header with a sound checksum and whatever in its fields."""
    places = {"size": (124, 12), "uid": (108, 8), "kind": (156, 1)}
    made = bytearray(format_header(b"n", FILE, 0, 0, 0, 0, 0))
    for key, value in fields.items():
        start, length = places[key]
        made[start : start + length] = value.ljust(length, b"\0")
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


def pax(record: bytes) -> bytes:
    return block(kind=b"x", size=b"%011o" % len(record)) + record + padding(len(record)) + block()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        bytes(511),
        block()[:100],
        block(size=b"\xff" * 12),  # a negative size
        block(size=b"12x"),
        block(uid=b"-1"),
        block(kind=b"L", size=b"\xff" * 12),
        block(kind=b"L", size=b"%011o" % (1 << 30)),
        block(kind=b"L", size=b"%011o" % 600) + bytes(512),
        pax(b"99 path=x\n"),
        pax(b"4 =\n"),
        pax(b"path=x\n"),
        pax(b"11 uid=nan\n"),
        pax(b"11 uid=inf\n"),
        pax(b"14 size=1e999\n"),
        pax(b"11 size=-5\n"),
        pax(b"11 uid=xyz\n"),
    ],
)
def test_nonsense_in_headers_is_a_value_error(damaged: bytes) -> None:
    stream = io.BytesIO(damaged)
    with pytest.raises(ValueError):
        read_header(lambda size: stream.read(size) if size >= 0 else pytest.fail("it would read everything"))


def test_large_numbers_of_pax_are_exact() -> None:
    record = b"size=%d\n" % (2**53 + 1)
    read = read_header(io.BytesIO(pax(b"%d %b" % (len(record) + 3, record))).read)
    assert read is not None
    assert read.size == 2**53 + 1


@few
@given(st.lists(st.lists(COMPONENT, min_size=1, max_size=4).map(b"/".join), max_size=20))
def test_paths_are_sorted_as_duplicity_sorts_them(paths: list[bytes]) -> None:
    assert sorted(paths, key=order_of) == sorted(paths, key=lambda path: path.split(b"/"))


def components(path: bytes) -> tuple[bytes, ...]:
    return tuple(path.split(b"/")) if path else ()


@few
@given(st.lists(st.tuples(PATH | st.just(b""), PATH), min_size=1, max_size=5))
def test_volumes_in_a_manifest_are_read_by_us_and_by_duplicity_as_written(spans: list[tuple[bytes, bytes]]) -> None:
    sums = [f"{number:040x}" for number in range(1, len(spans) + 1)]
    entries = [format_volume(number, *spans[number - 1], sums[number - 1]) for number in range(1, len(spans) + 1)]
    expected = {number: (components(first), components(last)) for number, (first, last) in enumerate(spans, 1)}
    assert parse_manifest(b"".join(entries)) == Manifest(dict(enumerate(sums, 1)), expected)
    for number, entry in enumerate(entries, 1):
        info = VolumeInfo().from_string(entry)
        assert (info.start_index, info.end_index) == expected[number]
        assert info.get_best_hash() == ("SHA1", sums[number - 1])
        # Byte for byte what duplicity would say.
        info = VolumeInfo().set_info(number, *(part for index in expected[number] for part in (index, None)))
        info.set_hash("SHA1", sums[number - 1])
        assert entry == info.to_string() + b"\n"
    assert all(Quote(first) in entry for (first, _), entry in zip(spans, entries, strict=True))


@pytest.fixture(scope="module")
def decrypt() -> Iterator[Callable[[bytes, str], bytes]]:
    """What gpg makes of a message."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # short, for its agent's socket

        def by_gpg(message: bytes, secret: str) -> bytes:
            read_end, write_end = os.pipe()
            os.write(write_end, secret.encode() + b"\n")
            os.close(write_end)
            argv = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback"]
            try:
                done = subprocess.run(
                    [*argv, "--passphrase-fd", str(read_end), "--decrypt"],
                    input=message,
                    capture_output=True,
                    pass_fds=[read_end],
                    check=False,
                )
            finally:
                os.close(read_end)
            assert done.returncode == 0, done.stderr.decode()
            return done.stdout

        yield by_gpg
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)


@pytest.mark.parametrize("size", [0, 1, 150, 8300, PART - 43, PART - 42, PART - 41, PART - 23, PART, 2 * PART, 300_000])
def test_gpg_reads_messages_of_any_length(size: int, decrypt: Callable[[bytes, str], bytes]) -> None:
    """Incompressible content, so that parts of the message end everywhere near the last byte."""
    data = noise(size, size)
    assert decrypt(encrypt(data, SECRET, STRONG), SECRET) == data


@pytest.mark.parametrize("step", [1, PART - 21, PART - 20, PART, 3 * PART])
def test_what_an_encryptor_is_given_at_once_makes_no_difference(
    step: int, decrypt: Callable[[bytes, str], bytes]
) -> None:
    data = noise(3000 if step == 1 else 400_000, step)
    stream = deflate.segment(LITERAL) + deflate.segment(data[:1000]) + deflate.last_segment(data[1000:])
    out = io.BytesIO()
    encryptor = Encryptor(out, SECRET, STRONG)
    for position in range(0, len(stream), step):
        encryptor.update(stream[position : position + step])
    encryptor.finish()
    message = out.getvalue()
    assert decrypt(message, SECRET) == data
    assert (encryptor.size, encryptor.sha1) == (len(message), hashlib.sha1(message).hexdigest())


@pytest.mark.parametrize(
    ("secret", "count"),
    [("x", WEAK), ("pässwörd", WEAK), ("w" * 254, STRONG), ("longer than what is hashed" * 50, STRONG)],
)
def test_secrets_are_stretched_as_gpg_does(secret: str, count: int, decrypt: Callable[[bytes, str], bytes]) -> None:
    assert decrypt(encrypt(b"content", secret, count), secret) == b"content"


@few
@given(st.binary(max_size=3000), st.binary(min_size=8, max_size=8), st.integers(0, 0x60))
def test_keys_are_derived_as_the_standard_says(secret: bytes, salt: bytes, coded: int) -> None:
    count = max((16 + (coded & 15)) << ((coded >> 4) + 6), len(salt + secret))
    hashed = (salt + secret) * (count // len(salt + secret) + 1)
    assert derive_key(secret, salt, coded) == hashlib.sha256(hashed[:count]).digest()


def by_ourselves(tar: bytes) -> bytes:
    """As `SignatureFile` compresses."""
    with tempfile.NamedTemporaryFile() as file:
        made = SignatureFile(Path(file.name))
        made.add(tar.removesuffix(END))
        if tar.endswith(END):
            made.finish()
        made.close()
        return Path(file.name).read_bytes()


SIZES = st.sampled_from([0, 1, 511, 512, 513, PART - 1, PART, PART + 1, 5 * PART, 1 << 20]) | st.integers(0, 300_000)


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    """The same in pieces of any size."""
    pieces = []
    while data:
        size = chance.choice((1, 100, 512, PART - 1, PART, PART + 1, 1 << 20))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def content(size: int, seed: int) -> bytes:
    """Some of it repeats, some does not."""
    return b"".join(noise(1 << 14, seed % 7 + number % 3) for number in range(size // (1 << 14) + 1))[:size]


@settings(max_examples=60, deadline=None)
@given(SIZES, st.sampled_from([0, 1, 1 << 20, 1 << 34, 1 << 40]), st.randoms(use_true_random=False))
def test_signatures_are_duplicitys(size: int, noted: int, chance: random.Random) -> None:
    """`noted` is the file's size when it was looked at: it gives the block length, up to a megabyte here."""
    data = content(size, chance.randrange(100))
    assert librsync.block_length(noted) == get_block_size(noted)
    ours, other = librsync.Signature(noted), theirs.SigGenerator(get_block_size(noted))
    for piece in cut(data, chance):
        ours.update(piece)
    for piece in cut(data, chance):
        other.update(piece)
    assert ours.value() == other.getsig()


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0, 1 << 20, 1 << 34]), st.randoms(use_true_random=False))
def test_deltas_make_the_new_content_of_the_old(old_size: int, size: int, noted: int, chance: random.Random) -> None:
    old = content(old_size, chance.randrange(100))
    at = chance.randrange(len(old) + 1)
    new = (old[:at] + content(size, chance.randrange(100)) + old[at + chance.randrange(1000) :])[: 1 << 20]
    signature = librsync.Signature(noted)
    signature.update(old)
    delta = b"".join(librsync.delta(signature.value(), cut(new, chance)))
    with tempfile.TemporaryFile() as basis:
        basis.write(old)
        basis.seek(0)
        assert theirs.PatchedFile(basis, io.BytesIO(delta)).read() == new


@given(st.integers(0, 1 << 60))
def test_block_lengths_are_duplicitys(size: int) -> None:
    assert librsync.block_length(size) == get_block_size(size)


def read_all(place: Path) -> list[bytes]:
    """The signatures of a chain of one session, each used."""
    found = []
    for known in read_chain([place]):
        found.append(known.signature())
        assert b"".join(librsync.delta(found[-1], [b"new"]))
    return found


@pytest.mark.parametrize("compress", [gzip.compress, by_ourselves], ids=["gzip", "ours"])
def test_damaged_signatures_in_the_cache_are_told_as_such(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Every bit counts, and what is given to librsync was looked at: a block length of 0 would end the process."""
    signature = librsync.Signature(5000)
    signature.update(noise(5000, 1))
    value = signature.value()
    tar = b"".join(
        format_header(b"signature/etc/%d" % number, FILE, 0o644, 0, 0, len(value), 1) + value + padding(len(value))
        for number in range(3)
    )
    whole = compress(tar + END)
    place = tmp_path / "signatures.gz"
    chance = random.Random(1)
    damaged = [whole[:size] for size in (0, 1, 5, 10, 100, len(whole) - 9, len(whole) - 1)]
    for position in [*range(4), *range(10, 40), *(chance.randrange(40, len(whole)) for _ in range(250))]:
        changed = bytearray(whole)
        changed[position] ^= 1 << chance.randrange(8)
        damaged.append(bytes(changed))
    for number, inner in enumerate((b"", bytes(12), value[:4] + bytes(4) + value[8:], value[:-1], b"x" + value[1:])):
        made = format_header(b"signature/a", FILE, 0, 0, 0, len(inner), number) + inner + padding(len(inner))
        damaged.append(compress(made + END))
    damaged += [compress(b"x" * 512), compress(tar), compress(b""), b"not gzip", tar]
    told = 0
    for each in damaged:
        place.write_bytes(each)
        try:
            read = read_all(place)
        except DamagedSignaturesError:
            told += 1
        else:
            assert read == [value] * 3, "a bit that nobody looks at may be anything"
    assert told > 0.9 * len(damaged)
    place.write_bytes(whole)
    assert read_all(place) == [value] * 3


def test_a_chain_of_more_sessions_than_files_may_be_open(tmp_path: Path) -> None:
    """Each session adds a file and takes the one before away."""
    paths = []
    for number in range(300):
        paths.append(tmp_path / f"{number}.gz")
        member = [format_header(b"deleted/%04d" % (number - 1), FILE, 0, 0, 0, 0, 0)] if number else []
        member.append(format_header(b"snapshot/%04d" % number, FIFO, 0, 0, 0, 0, number))
        paths[-1].write_bytes(by_ourselves(b"".join(member) + END))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        assert [(known.path, known.header.mtime) for known in read_chain(paths)] == [(b"0299", 299)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([b"a", b"a!", b"a b", b"b", b"\xc3\xbc", b"\n"]), min_size=1, max_size=4)),
    st.lists(st.lists(st.sampled_from(["x", "x!", "y"]), min_size=1, max_size=3), max_size=5),
)
def test_a_session_has_every_path_once_in_order_with_what_is_above_it(
    tmp_path_factory: pytest.TempPathFactory, listed: list[list[bytes]], inside: list[list[str]]
) -> None:
    """Whatever the order of the list, and with repetitions."""
    base = tmp_path_factory.mktemp("select")
    extras = base / "extras"
    for parts in ([], *inside):
        extras.joinpath(*parts).mkdir(parents=True, exist_ok=True)
    (base / "list").write_bytes(b"".join(b"/".join(parts) + b"\0" for parts in listed))
    expected = {(b"TKLBAM", *map(os.fsencode, path.relative_to(extras).parts)) for path in extras.rglob("*")}
    expected |= {(), (b"TKLBAM",)}
    expected |= {tuple(parts[:depth]) for parts in listed for depth in range(1, len(parts) + 1)}
    outcome = Outcome()
    found = list(select(base, sort_list(base / "list", base), extras, outcome))
    assert [each.path for each in found] == [b"/".join(parts) for parts in sorted(expected)]
    assert not outcome.unread
    for each in found:
        within = each.path.removeprefix(b"TKLBAM")
        if len(within) < len(each.path):
            assert each.place == os.fsencode(extras) + within
        else:
            assert each.place == (os.fsencode(base) + b"/" + each.path).rstrip(b"/")
