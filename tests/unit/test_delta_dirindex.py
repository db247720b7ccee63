"""The index file: what is written is read back, in the order of a walk; what is malformed is named."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indexes import create_index
from tklbam_core.api.errors import FormatError
from tklbam_core.delta.dirindex import import_index, read_index, write_index
from tklbam_core.delta.escape import escape, sort_key, unescape
from tklbam_core.delta.model import Entry
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import scan
from tklbam_core.delta.sorting import in_order

HOSTILE = [
    b"new\nline",
    b"ta\tb",
    b"back\\slash",
    b"c\rr",
    b"\xff\xfe",
    b"\\n",
    b"\\",
    b" ",
    b"a",
    b"a-b",
    b"a.b",
    b"-",
]

name = st.binary(min_size=1, max_size=8).map(lambda raw: raw.replace(b"\0", b"_").replace(b"/", b"\\"))
path = st.lists(name.filter(lambda n: n not in (b".", b"..")), min_size=1, max_size=4).map(
    lambda ns: b"/" + b"/".join(ns)
)
number = st.integers(0, 2**32 - 1)
time = st.integers(-(2**33), 2**34)
ctime = st.none() | st.integers(-(2**60), 2**62)
numbers = (number, number, st.integers(0, 2**62), time, ctime)
digest = st.sampled_from([None, "0f" * 16])
regular = st.tuples(path, st.sampled_from([0o100644, 0o104755]), *numbers, digest, st.none())
link = st.tuples(path, st.just(0o120777), *numbers, st.none(), st.none() | name)
other = st.tuples(path, st.sampled_from([0o40755, 0o10600, 0o20600]), *numbers, st.none(), st.none())
entries_of_all_kinds = st.lists(
    (regular | link | other).map(Entry._make), max_size=12, unique_by=lambda entry: entry.path
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


@given(entries=entries_of_all_kinds)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(scratch: Path, entries: list[Entry]) -> None:
    file = scratch / "dirindex"
    ordered = list(in_order(entries, run=3))
    assert write_index(file, ordered) == len(entries)
    assert list(read_index(file)) == ordered
    assert [entry.path.split(b"/") for entry in ordered] == sorted(entry.path.split(b"/") for entry in entries)


@given(st.binary(max_size=20))
def test_escapes_are_undone(raw: bytes) -> None:
    text = escape(raw)
    assert unescape(text) == raw
    assert not set(text) & set(b"\t\n\r")


@pytest.mark.parametrize("text", [b"\\x", b"end\\", b"a\rb", b"\\\n"])
def test_unknown_escapes_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no escape"):
        unescape(text)


def test_the_order_is_that_of_a_walk_and_a_scan_goes_there_and_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for directory in (b"a", b"a-b", b"a/b", b"\xff"):
        os.mkdir(os.fsencode(root) + b"/" + directory) if root.exists() else os.makedirs(
            os.fsencode(root) + b"/" + directory
        )
        for each in HOSTILE:
            file = os.fsencode(root) + b"/" + directory + b"/f" + each
            with open(file, "wb") as out:
                out.write(each)
    os.symlink(b"tar\tget\n\\\xff", os.fsencode(root) + b"/li\nnk")
    rules = PathRules.from_words(["/"])
    walked = list(scan(root, rules))
    assert [entry.path.split(b"/") for entry in walked[1:]] == sorted(entry.path.split(b"/") for entry in walked[1:])
    assert [entry.path for entry in walked[:4]] == [b"/", b"/a", b"/a/b", b"/a/b/f "]
    assert len(walked) == 1 + 4 + 4 * len(HOSTILE) + 1

    index = tmp_path / "dirindex"
    assert create_index(index, root=root, rules=rules) == len(walked)
    assert [entry._replace(digest=None) for entry in read_index(index)] == walked
    assert index.read_bytes().startswith(b"#tklbam 2\n/\t41ed\t")
    assert index.read_bytes().count(b"\n") == len(walked) + 1
    by_path = {entry.path: entry for entry in read_index(index)}
    assert by_path[b"/a/fnew\nline"].digest == hashlib.blake2b(b"new\nline", digest_size=16).hexdigest()
    assert by_path[b"/li\nnk"].target == b"tar\tget\n\\\xff"

    create_index(index, root=root, rules=rules, digests=False)
    assert list(read_index(index)) == walked


def test_version_1_is_sorted_anew_and_nothing_in_it_is_unescaped(tmp_path: Path) -> None:
    old, new = tmp_path / "v1", tmp_path / "v2"
    old.write_bytes(
        b"/a\t41ed\t0\t0\t1000\t5e0be100\n"
        b"/a-b\t81a4\t3e7\t0\t1f\t-1\n"
        b"/a/b\t81a4\t0\t0\t0\t5e0be100\n"
        b"/a/dev-disk-by\\x2duuid\ra\x85b\xe2\x80\xa8\ta1ff\t0\t0\t4\t5e0be100\tt\\n\r\n"
        b"/a/b\t81a4\t0\t0\t99\t5e0be100\n"
        b"/z\ta1ff\t0\t0\t4\t5e0be100"
    )
    assert import_index(old, new) == 5
    assert list(read_index(new)) == [
        Entry(b"/a", 0o40755, 0, 0, 0x1000, 0x5E0BE100),
        Entry(b"/a/b", 0o100644, 0, 0, 0, 0x5E0BE100),
        Entry(b"/a/dev-disk-by\\x2duuid\ra\x85b\xe2\x80\xa8", 0o120777, 0, 0, 4, 0x5E0BE100, target=b"t\\n\r"),
        Entry(b"/a-b", 0o100644, 0x3E7, 0, 0x1F, -1),
        Entry(b"/z", 0o120777, 0, 0, 4, 0x5E0BE100),
    ]
    again = tmp_path / "again"
    assert import_index(new, again) == 5
    assert again.read_bytes() == new.read_bytes()


def test_sorting_more_runs_than_are_merged_at_once() -> None:
    entries = [Entry(b"/%d" % (number * 7919 % 1000), stat.S_IFREG, 0, 0, number, 0) for number in range(1500)]
    sorted_entries = list(in_order(entries, run=5))
    assert [entry.path for entry in sorted_entries] == sorted({entry.path for entry in entries}, key=sort_key)
    assert all(entry.size < 1000 for entry in sorted_entries), "the first of several stands"


def test_the_writer_refuses_disorder_and_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "dirindex"
    write_index(file, [Entry(b"/a", stat.S_IFREG, 0, 0, 0, 0)])
    before = file.read_bytes()
    for second in (b"/a/b", b"/a", b"/a-b"):
        entries = [Entry(name, stat.S_IFREG, 0, 0, 0, 0) for name in (b"/a-b", second)]
        with pytest.raises(ValueError, match="out of order"):
            write_index(file, entries)
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["dirindex"]


V1 = b"/a\t81a4\t0\t0\t0\t0\n"
V2 = b"/a\t81a4\t0\t0\t0\t0\t-\t-\n"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"\n", "1 columns"),
        (b"/a\n", "1 columns"),
        (b"/a\t81a4\t0\t0\t0\n", "5 columns"),
        (b"/a\ta1ff\t0\t0\t0\t0\tx\ty\n", "8 columns"),
        (b"/a\t81ag\t0\t0\t0\t0\n", "no mode"),
        (b"/a\t0x81\t0\t0\t0\t0\n", "no mode"),
        (b"/a\t81a4\t\t0\t0\t0\n", "no uid"),
        (b"/a\t81a4\t0\t-1\t0\t0\n", "no gid"),
        (b"/a\t81a4\t0\t0\t 1\t0\n", "no size"),
        (b"/a\t81a4\t0\t0\t0\t1.5\n", "no mtime"),
        (b"/a\t181a4\t0\t0\t0\t0\n", "out of range"),
        (b"/a\t81a4\t100000000\t0\t0\t0\n", "out of range"),
        (b"a\t81a4\t0\t0\t0\t0\n", "not absolute"),
        (b"\t81a4\t0\t0\t0\t0\n", "not absolute"),
        (b"/a/\t81a4\t0\t0\t0\t0\n", "not normalised"),
        (b"/a//b\t81a4\t0\t0\t0\t0\n", "not normalised"),
        (b"/a/../b\t81a4\t0\t0\t0\t0\n", "not normalised"),
        (b"/./b\t81a4\t0\t0\t0\t0\n", "not normalised"),
        (b"/a\0b\t81a4\t0\t0\t0\t0\n", "NUL"),
        (b"/a\t81a4\t0\t0\t0\t0\tx\n", "target"),
    ],
)
def test_malformed_v1_is_named_with_file_and_line(line: bytes, what: str, tmp_path: Path) -> None:
    file = tmp_path / "dirindex"
    file.write_bytes(V1 + line + V1)
    with pytest.raises(FormatError, match=what) as caught:
        import_index(file, tmp_path / "new")
    assert caught.value.line == 2
    assert str(file) in str(caught.value)
    assert caught.value.remedy
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (V1, "6 columns"),
        (b"/a\t81a4\t0\t0\t0\t0\t-\t-", "cut short"),
        (b"/a\t81a4\t0\t0\t0\t0\tx\t-\n", "no ctime"),
        (b"/a\t81a4\t0\t0\t0\t0\t-\tabc\n", "no digest"),
        (b"/a\t81a4\t0\t0\t0\t0\t-\t\n", "no digest"),
        (b"/a\t81a4\t0\t0\t0\t0\t-\t-\r\n", "no escape"),
        (b"/a\t41ed\t0\t0\t0\t0\t-\t" + b"0" * 32 + b"\n", "no digest"),
        (b"/a\\x\t81a4\t0\t0\t0\t0\t-\t-\n", "no escape"),
        (b"/a\ta1ff\t0\t0\t0\t0\t-\tx\\\n", "no escape"),
        (b"#tklbam 3\n", "1 columns"),
    ],
)
def test_malformed_v2_is_named_with_file_and_line(line: bytes, what: str, tmp_path: Path) -> None:
    file = tmp_path / "dirindex"
    file.write_bytes(b"#tklbam 2\n" + V2 + line)
    with pytest.raises(FormatError, match=what) as caught:
        list(read_index(file))
    assert caught.value.line == 3


@pytest.mark.parametrize("header", [b"#tklbam 3\n", b"#tklbam 2", b"#tklbam 2\r\n", b"\xef\xbb\xbf#tklbam 2\n"])
def test_another_header_is_no_index(header: bytes, tmp_path: Path) -> None:
    file = tmp_path / "dirindex"
    file.write_bytes(header)
    with pytest.raises(FormatError):
        list(read_index(file))


def test_an_empty_index_has_no_entries(tmp_path: Path) -> None:
    file = tmp_path / "dirindex"
    for content in (b"", b"#tklbam 2\n"):
        file.write_bytes(content)
        assert list(read_index(file)) == []
