"""The stream of a dump program, taken apart; and rows cut into files that stay the same."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from pathlib import Path

import pytest

from tklbam_mysql.cut import MAXIMUM, MINIMUM, RowsWriter
from tklbam_mysql.names import from_file_name, to_file_name
from tklbam_mysql.split import Splitter

HOSTILE = ["1,'a'", "2,'),\\n('", "3,'),('", "4,'it\\'s),(\\\\'", "5,NULL", "6,';\\n'", "7,0x00,'\\'),(\\''", "8,''"]


class Collected:
    def __init__(self) -> None:
        self.columns: list[str] = []
        self.data = b""

    def pieces(self, rows: list[bytes], ended: bool) -> None:
        self.data += b"\n".join(rows) + (b"\n" if ended else b"")


class Counted:
    def __init__(self) -> None:
        self.columns: list[str] = []
        self.rows = self.size = 0

    def pieces(self, rows: list[bytes], ended: bool) -> None:
        self.rows += len(rows) - 1 + ended
        self.size += sum(map(len, rows)) + len(rows) - 1 + ended


def stream(separator: str, ending: str = ";\n") -> bytes:
    text = "/*!40101 SET NAMES utf8mb4 */;\nUSE `d``b`;\n"
    for start in (0, 4):
        rows = separator.join(f"({row})" for row in HOSTILE[start : start + 4])
        text += f"INSERT INTO `t``1` (`a`, `b,``) VALUES (c`) VALUES {rows}{ending}\n"
    text += "INSERT INTO `unknown` (`a`) VALUES (1);\n"
    text += "INSERT INTO `v` (`a`, row_start, row_end) VALUES (1,'x','y');\n"
    return text.encode()


@pytest.mark.parametrize("separator", [",\n", ","], ids=["mariadb", "mysql"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100000])
def test_rows_are_found_however_the_stream_is_broken_up(separator: str, size: int) -> None:
    table, versioned = Collected(), Collected()
    splitter = Splitter({"d`b": {"t`1": table, "v": versioned}})
    data = stream(separator)
    for at in range(0, len(data), size):
        splitter.feed(data[at : at + size])
    assert splitter.finish()
    assert table.data.decode() == "".join(row + "\n" for row in HOSTILE)
    assert table.columns == ["a", "b,`) VALUES (c"]
    assert (versioned.data, versioned.columns) == (b"1,'x','y'\n", ["a", "row_start", "row_end"])
    assert splitter.strangers == {"d`b.unknown"}


@pytest.mark.parametrize("separator", [",\n", ","], ids=["mariadb", "mysql"])
def test_memory_does_not_grow_with_a_row(separator: str) -> None:
    """Rows larger than any block, first and later ones, of binary and of text that looks like the separators."""
    table = Counted()
    splitter = Splitter({"d": {"t": table}}, "d")
    splitter.feed(b"INSERT INTO `t` (`a`, `b`) VALUES (")
    text = b"it\\'s),(1,\\\\),(" * (1 << 12)
    tracemalloc.start()
    for number in range(3):
        splitter.feed(b"%d,0x" % number)
        for _ in range(256):
            splitter.feed(b"00FF" * (1 << 14))
        splitter.feed(b",'")
        for _ in range(256):
            splitter.feed(text)
        splitter.feed(b"')" + (separator.encode() + b"(" if number < 2 else b";\n"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert splitter.finish()
    assert table.rows == 3
    assert table.size == 3 * (len(b"0,0x,''") + 256 * (4 << 14) + 256 * len(text)) + 3
    assert peak < 4 << 20


def test_a_stream_that_ends_in_mid_statement_is_not_whole() -> None:
    table = Collected()
    splitter = Splitter({"d": {"t": table}}, "d")
    splitter.feed(b"INSERT INTO `t` (`a`) VALUES (1),\n(2")
    assert not splitter.finish()


def cut(directory: Path, lines: list[bytes], block: int = 1 << 20, key: int = 1) -> dict[str, str]:
    writer = RowsWriter(directory, key)
    data = b"".join(lines)
    for at in range(0, len(data), block):
        ended = at + block >= len(data)
        writer.pieces((data[:-1] if ended else data)[at : at + block].split(b"\n"), ended)
    writer.finish()
    assert b"".join((directory / name).read_bytes() for name, _, _ in writer.files) == data
    assert writer.rows == len(lines)
    assert [size for _, _, size in writer.files] == [(directory / name).stat().st_size for name, _, _ in writer.files]
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name, _, _ in writer.files}


def rows(count: int, length: int) -> list[bytes]:
    chance = random.Random(1)
    return [b"%d,'%s'\n" % (number * 3, b"x" * chance.randint(1, 2 * length)) for number in range(count)]


def test_files_are_of_bounded_size(tmp_path: Path) -> None:
    cut(tmp_path, rows(80_000, 600))
    sizes = sorted(path.stat().st_size for path in tmp_path.iterdir())
    assert len(sizes) >= 5
    assert all(MINIMUM <= size <= MAXIMUM + 2000 for size in sizes[1:])


@pytest.mark.parametrize("length", [100, 600, 20_000])
def test_unchanged_rows_stay_in_identical_files(tmp_path: Path, length: int) -> None:
    lines = rows(min(400_000, 60_000_000 // length), length)
    before = cut(tmp_path / "before", lines)
    chance = random.Random(2)
    changed = list(lines)
    del changed[10]  # early on, so that everything behind it moves
    changed.insert(3, b"10,'new row %s'\n" % (b"y" * length * 3))
    changed[chance.randrange(len(changed))] = b"9999999,'changed'\n"
    after = cut(tmp_path / "after", changed)
    same = [name for name in before if after.get(name) == before[name]]
    assert len(before) >= 5
    assert len(same) >= len(before) - 4


def test_the_cuts_do_not_depend_on_how_rows_arrive(tmp_path: Path) -> None:
    lines = [*rows(9_000, 1200), b"5,'%s'\n" % (b"z" * (9 << 20)), *rows(9_000, 1200)]
    assert cut(tmp_path / "a", lines, 1 << 20) == cut(tmp_path / "b", lines, 77_777)


def test_names_of_any_kind_are_file_names_and_back() -> None:
    for name in ("plain", ".hidden", "a/b", "100%", "tab\t", "new\nline", "ünï", "%2F", "a.b", "/" * 64):
        file_name = to_file_name(name)
        assert "/" not in file_name
        assert not file_name.startswith(".")
        assert len(file_name.encode()) <= 255
        assert from_file_name(file_name) == name
