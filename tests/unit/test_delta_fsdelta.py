"""The delta file: both versions read, version 2 written, anything malformed named with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tklbam_core.api.errors import FormatError
from tklbam_core.delta.fsdelta import DeltaWriter, format_change, parse_delta, read_delta
from tklbam_core.delta.model import Change

name = st.binary(min_size=1, max_size=8).map(lambda raw: raw.replace(b"\0", b"_").replace(b"/", b"\\"))
path = st.lists(name.filter(lambda n: n not in (b".", b"..")), min_size=1, max_size=3).map(
    lambda ns: b"/" + b"/".join(ns)
)
owner = st.integers(0, 2**32 - 2)
change = st.one_of(
    st.tuples(st.just("o"), path, owner, owner),
    st.tuples(st.just("s"), path, owner, owner, st.integers(0, 0o177777)),
    st.tuples(st.just("d"), path),
).map(lambda columns: Change(*columns))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("extras")


@given(changes=st.lists(change, max_size=10))
@settings(deadline=None)
def test_what_is_written_is_read_back(directory: Path, changes: list[Change]) -> None:
    with DeltaWriter(directory) as writer:
        for each in changes:
            writer.add(each)
        writer.add(Change("a", b"/attributes/only"))
    assert list(read_delta(directory / "fsdelta")) == changes
    overlay = (directory / "fsdelta-olist").read_bytes().split(b"\n")[:-1]
    assert len(overlay) == sum(each.kind == "o" for each in changes)


def test_the_text_of_version_2(tmp_path: Path) -> None:
    with DeltaWriter(tmp_path) as writer:
        writer.add(Change("o", b"/new\nline\\", 1, 2, 0o100644, 10, 1, (1, 2)))
        writer.add(Change("s", b"/dir", 0, 0, 0o40755))
        writer.add(Change("s", b"/file", 3, 4, 0o104755))
        writer.add(Change("d", b"/gone\xff"))
    assert (tmp_path / "fsdelta").read_bytes() == (
        b"#tklbam 2\no\t/new\\nline\\\\\t1\t2\ns\t/dir\t0\t0\t040755\ns\t/file\t3\t4\t0104755\nd\t/gone\xff\n"
    )
    assert (tmp_path / "fsdelta-olist").read_bytes() == b"/new\\nline\\\\\n"
    assert (tmp_path / "fsdelta").stat().st_mode & 0o7777 == 0o600


def test_version_1_is_raw_and_old_bare_permissions_stay_so(tmp_path: Path) -> None:
    file = tmp_path / "fsdelta"
    file.write_bytes(
        b"o\t/dev-disk-by\\x2duuid\r\x85\t0\t1000\ns\t/a\t0\t0\t0100644\ns\t/old\t0\t0\t0755\nd\t/b\\n\nd\t/last"
    )
    assert list(read_delta(file)) == [
        Change("o", b"/dev-disk-by\\x2duuid\r\x85", 0, 1000),
        Change("s", b"/a", 0, 0, 0o100644),
        Change("s", b"/old", 0, 0, 0o755),
        Change("d", b"/b\\n"),
        Change("d", b"/last"),
    ]


def test_an_error_leaves_no_delta(tmp_path: Path) -> None:
    def stop(writer: DeltaWriter) -> None:
        with writer:
            writer.add(Change("d", b"/x"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop(DeltaWriter(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"\n", "no operation"),
        (b"x\t/a\n", "no operation"),
        (b"a\t/a\n", "no operation"),
        (b"O\t/a\t0\t0\n", "no operation"),
        (b"d\n", "1 columns"),
        (b"d\t/a\t0\n", "3 columns"),
        (b"o\t/a\t0\n", "3 columns"),
        (b"o\t/a\t0\t0\t0644\n", "5 columns"),
        (b"s\t/a\t0\t0\n", "4 columns"),
        (b"o\t/a\t-1\t0\n", "no uid"),
        (b"o\t/a\t0\t+1\n", "no uid"),
        (b"o\t/a\t0\t4294967295\n", "no uid"),
        (b"o\t/a\t\t0\n", "no uid"),
        (b"s\t/a\t0\t0\t0999\n", "no mode"),
        (b"s\t/a\t0\t0\t\n", "no mode"),
        (b"s\t/a\t0\t0\t0o755\n", "no mode"),
        (b"s\t/a\t0\t0\t07777777\n", "no mode"),
        (b"d\ta\n", "not absolute"),
        (b"d\t\n", "not absolute"),
        (b"d\t/a/../../etc\n", "not normalised"),
        (b"d\t/..\n", "not normalised"),
        (b"d\t/./a\n", "not normalised"),
        (b"d\t/a/\n", "not normalised"),
        (b"d\t//a\n", "not normalised"),
        (b"d\t/a\0\n", "NUL"),
    ],
)
@pytest.mark.parametrize("header", [b"", b"#tklbam 2\n"])
def test_malformed_lines_are_named(line: bytes, what: str, header: bytes, tmp_path: Path) -> None:
    file = tmp_path / "fsdelta"
    file.write_bytes(header + b"d\t/ok\n" + line)
    with pytest.raises(FormatError, match=what) as caught:
        list(read_delta(file))
    assert caught.value.line == (3 if header else 2)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "what"), [(b"d\t/a\\x\n", "escape"), (b"d\t/a\r\n", "escape"), (b"d\t/a", "cut short")]
)
def test_malformed_version_2_is_named(line: bytes, what: str, tmp_path: Path) -> None:
    file = tmp_path / "fsdelta"
    file.write_bytes(b"#tklbam 2\n" + line)
    with pytest.raises(FormatError, match=what):
        list(read_delta(file))


def test_relative_paths_only_where_they_are_wanted() -> None:
    lines = [b"d\ta/b\n", b"d\t.\n"]
    assert [each.path for each in parse_delta(lines, "-", relative=True)] == [b"a/b", b"."]
    with pytest.raises(FormatError, match=r"-:1: .*not absolute"):
        list(parse_delta(lines, "-"))
    with pytest.raises(FormatError, match="not normalised"):
        list(parse_delta([b"d\t../b\n"], "-", relative=True))


def test_attributes_alone_have_no_record() -> None:
    with pytest.raises(ValueError, match="no record"):
        format_change(Change("a", b"/x"))
