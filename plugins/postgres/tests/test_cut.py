"""Rows are cut where their content says, and joined again they are what pg_dump wrote."""

from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tklbam_core.api import DatabaseError
from tklbam_postgres import cut


def rows(count: int, seed: int = 1) -> list[bytes]:
    numbers = random.Random(seed)
    return [b"%d\t%s\n" % (n, numbers.randbytes(numbers.randrange(5, 250)).hex().encode()) for n in range(count)]


def written(tmp_path: Path, lines: list[bytes], name: str = "1.dat") -> Path:
    path = tmp_path / name
    path.write_bytes(b"".join(lines) + cut.TRAILER)
    return path


def joined(directory: Path, found: cut.Rows) -> bytes:
    return b"".join((directory / f"{name}.rows").read_bytes() for name, _ in found.pieces)


def cut_rows(tmp_path: Path, lines: list[bytes], name: str) -> cut.Rows:
    found = cut.cut(written(tmp_path, lines), tmp_path / name)
    assert joined(tmp_path / name, found) == b"".join(lines)
    assert found.count == len(lines)
    return found


def test_pieces_join_to_what_was_cut_and_have_the_sizes_noted(tmp_path: Path) -> None:
    found = cut_rows(tmp_path, rows(120_000), "t")
    sizes = [size for _, size in found.pieces]
    assert [(tmp_path / "t" / f"{name}.rows").stat().st_size for name, _ in found.pieces] == sizes
    assert all(cut.LEAST <= size <= cut.MOST + 1000 for size in sizes[:-1])
    assert not (tmp_path / "1.dat").exists()


def specified(lines: list[bytes], least: int, most: int, share: int, floor: int) -> list[tuple[str, bytes]]:
    """The pieces of these rows as docs/formats/pgfs.md describes them: names and content."""
    pieces: list[tuple[str, bytes]] = []
    names: list[str] = []
    name, piece, passed = "start", b"", False
    for line in lines:
        candidate, passed = passed, passed or len(piece) + len(line) > least
        piece += line
        if candidate and (crc32(line[:-1]) < max(len(line) * share, floor) or len(piece) >= most):
            pieces.append((name, piece))
            names.append(f"{crc32(line[:-1]):08x}{len(line) - 1:08x}")
            taken = names.count(names[-1])
            name, piece, passed = names[-1] if taken == 1 else f"{names[-1]}-{taken}", b"", False
    return [*pieces, (name, piece)] if piece else pieces


def test_cuts_are_where_the_specification_says(tmp_path: Path) -> None:
    lines = rows(120_000)
    wanted = [(name, len(piece)) for name, piece in specified(lines, 1 << 20, 8 << 20, 8192, 1048576)]
    assert list(cut_rows(tmp_path, lines, "t").pieces) == wanted


# Everything a thousand times smaller, so that every border falls everywhere.
narrow = st.binary(max_size=12)
wide = st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 900)).map(lambda each: each[0] * each[1])
odd = st.sampled_from([b"", b"x", b"\\\\.", b"\\N", b"\\\\.\\n", b"\\"])
some = st.one_of(narrow, wide, odd).map(lambda row: row.replace(b"\n", b" ") + b"\n")
many = st.tuples(some, st.integers(1, 400)).map(lambda each: [each[0]] * each[1])
tables = st.lists(st.one_of(st.lists(some, max_size=60), many), max_size=8).map(
    lambda parts: list(itertools.chain.from_iterable(parts))
)


@example([b"123456789\n"] * 2000, [777], 18)  # the largest size is met exactly
@given(tables, st.lists(st.integers(1, 2000), min_size=1, max_size=30), st.integers(18, 32))
def test_rows_of_any_kind_are_cut_as_specified_however_they_come(
    lines: list[bytes], chunks: list[int], bits: int
) -> None:
    share = 1 << bits - 10
    small = {"LEAST": 1000, "MOST": 8000, "SHARE": share, "FLOOR": share << 6, "SAMPLE": 64, "FEW": 3, "WIDEST": 256}
    data = b"".join(lines) + cut.TRAILER
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        for name, value in small.items():
            patch.setattr(cut, name, value)
        cutter = cut.Cutter(Path(directory) / "t")
        sizes = itertools.cycle(chunks)
        while data:
            size = next(sizes)
            cutter.feed(data[:size])
            data = data[size:]
        found = cutter.finish()
        wanted = specified(lines, 1000, 8000, share, share << 6)
        assert list(found.pieces) == [(name, len(piece)) for name, piece in wanted]
        assert [(Path(directory) / f"t/{name}.rows").read_bytes() for name, _ in found.pieces] == [
            piece for _, piece in wanted
        ]
        assert found.count == len(lines)


@given(tables, st.integers(0, 5000), st.integers(0, 5000))
def test_newlines_are_counted_rightly_in_either_way(lines: list[bytes], at: int, stop: int) -> None:
    data = b"".join(lines)
    stop = min(stop, len(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "SAMPLE", 64)
        assert cut.newlines(data, at, stop) == data.count(b"\n", at, stop)
    assert cut.newlines(data) == data.count(b"\n")


def test_a_changed_row_changes_one_piece_and_renames_none(tmp_path: Path) -> None:
    lines = rows(150_000)
    before = cut_rows(tmp_path, lines, "before")
    moved = lines[40_000]
    after = cut_rows(tmp_path, [*lines[:40_000], *lines[40_001:], moved.replace(b"\t", b"\tx")], "after")
    assert [name for name, _ in after.pieces] == [name for name, _ in before.pieces]
    changed = [
        name
        for name, _ in before.pieces
        if (tmp_path / f"before/{name}.rows").read_bytes() != (tmp_path / f"after/{name}.rows").read_bytes()
    ]
    assert len(changed) == 2  # where it was, and the end, where it is now
    assert len(before.pieces) > 4


@pytest.mark.parametrize("width", [3 << 20, 300 << 10, 256 << 10, (256 << 10) - 1])
def test_rows_wider_than_the_buffer_are_cut_whole(tmp_path: Path, width: int) -> None:
    numbers = random.Random(width)
    lines = [numbers.randbytes(width // 2).hex().encode() + b"\n" for _ in range((40 << 20) // width)]
    found = cut_rows(tmp_path, lines, "t")
    assert len(found.pieces) > 2
    assert all(size <= cut.MOST + width + 1 for _, size in found.pieces)


def test_rows_that_are_all_the_same_are_cut_by_size_under_different_names(tmp_path: Path) -> None:
    found = cut_rows(tmp_path, [b"same\n"] * 2_500_000, "t")
    assert len({name for name, _ in found.pieces}) == len(found.pieces) > 1
    assert max(size for _, size in found.pieces) <= cut.MOST + 5


def test_no_rows_need_no_piece(tmp_path: Path) -> None:
    assert cut.cut(written(tmp_path, []), tmp_path / "t") == cut.Rows((), 0)
    assert not (tmp_path / "t").exists()


def test_blank_rows_are_rows(tmp_path: Path) -> None:
    assert cut_rows(tmp_path, [b"\n", b"\n", b"\n"], "t").count == 3


@pytest.mark.parametrize("end", [b"", b"\\.\n", b"\\.\n\n", b"x\\.\n\n\n"])
def test_a_file_that_is_not_complete_is_refused(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "1.dat"
    path.write_bytes(b"1\ta\n" + end)
    with pytest.raises(DatabaseError, match="not written to its end"):
        cut.cut(path, tmp_path / "t")
