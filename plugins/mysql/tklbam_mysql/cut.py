"""Rows into files of bounded size, cut where their keys say so (docs/formats/myfs.md, "How the rows are cut")."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

MIB = 1 << 20
MINIMUM = MIB
MAXIMUM = 3 * MIB
LINE_CAP = MIB
KEY_CAP = 1024
PLAIN_KEY = 64
STRIDE = 256
"""Rows looked at together for a place to cut."""
# (up to this many bytes in the file, average distance of cuts in bytes)
# A file of S bytes in which one row changed costs an increment of duplicity's some 12·√S bytes, its new signature. With
# files of about 1.5 MB twenty changed rows stay cheap, be they far apart, and so do a thousand.
DISTANCES = ((3 * MIB // 2, MIB // 2), (2 * MIB, MIB // 8), (MAXIMUM, MIB // 32))


def distance_at(size: int) -> tuple[int, int]:
    """For a file of `size` bytes: up to which size, and how far cuts lie apart on average (0: cut here)."""
    return next(((bound, distance) for bound, distance in DISTANCES if size < bound), (size, 0))


class RowsWriter:
    """Writes the rows of one table below `directory`, which it makes at the first row. Memory: a block and a line.

    `key_columns`: how many leading columns make the key, 0 where the key is not the row's start. `files` has
    (name, rows, bytes) of each finished file, in order; `columns` is for whoever writes to note.
    """

    def __init__(self, directory: Path, key_columns: int) -> None:
        self._directory = directory
        self._key_columns = key_columns
        self._file: BinaryIO | None = None
        self._name = "first"
        self._size = 0
        self._rows = 0
        self._names: set[str] = set()
        self._rest = b""  # the start of a line whose end is not here yet
        self._inside = False  # the rest of a very long line is being passed through
        self.files: list[tuple[str, int, int]] = []
        self.columns: list[str] = []

    @property
    def rows(self) -> int:
        return sum(rows for _, rows, _ in self.files) + self._rows

    @property
    def size(self) -> int:
        return sum(size for _, _, size in self.files) + self._size

    def write(self, lines: bytes) -> None:
        """Takes whole lines, each with its newline."""
        self.pieces(lines.removesuffix(b"\n").split(b"\n"), True)

    def pieces(self, rows: list[bytes], ended: bool) -> None:
        """Takes rows without newlines. The first goes on where the last one stopped; `ended`: the last is whole."""
        if self._inside:
            if len(rows) == 1 and not ended:
                self._put(rows[0], 0)
                return
            self._put(rows[0] + b"\n", 1)
            self._inside = False
            rows = rows[1:]
        elif self._rest:
            rows[0] = self._rest + rows[0]
        self._rest = b"" if ended or not rows else rows.pop()
        self._take(rows)
        if len(self._rest) >= LINE_CAP:
            key_hash = crc32(self._key(self._rest))
            if self._size >= MINIMUM and key_hash * distance_at(self._size)[1] < LINE_CAP << 32:
                self._next(key_hash)
            self._put(self._rest, 0)
            self._rest = b""
            self._inside = True

    def finish(self) -> None:
        """Closes the last file. Without a single row there is none."""
        self._close()

    def close(self) -> None:
        """Gives up: nothing stays open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, rows: list[bytes]) -> None:
        total = len(rows)
        if self._size < MINIMUM:
            block = b"\n".join(rows)
            if self._size + len(block) < MINIMUM:
                if rows:
                    self._put(block + b"\n", total)
                return
        ends = list(accumulate(map((1).__add__, map(len, rows))))  # where each row ends, its newline included
        at = 0
        while at < total:
            start = at
            before = self._size - (ends[at - 1] if at else 0)
            if self._size < MINIMUM:
                at = min(bisect_left(ends, MINIMUM - before) + 1, total)
            at = self._find_cut(rows, ends, before, at)
            if at > start:
                self._put(b"\n".join(rows[start:at]) + b"\n", at - start)
            if at < total:
                self._next(crc32(self._key(rows[at])))

    def _find_cut(self, rows: list[bytes], ends: list[int], before: int, first: int) -> int:
        """The first row from `first` on that begins a new file, the number of rows where none does.

        The file has `before` bytes ahead of these rows, less those of them that are in other files.
        """
        for start in range(first, len(rows), STRIDE):
            some = rows[start : start + STRIDE]
            longest = min(max(map(len, some)) + 1, LINE_CAP)
            distance = distance_at(before + ends[start + len(some) - 1])[1]
            limit = (longest << 32) // distance if distance else 1 << 32
            hashes = self._hashes(some)
            if min(hashes) > limit:  # the usual case, in which nothing is looked at row by row
                continue
            for number, key_hash in enumerate(hashes, start):
                if key_hash <= limit:
                    size = before + (ends[number - 1] if number else 0)
                    if key_hash * distance_at(size)[1] < min(len(rows[number]) + 1, LINE_CAP) << 32:
                        return number
        return len(rows)

    def _hashes(self, rows: list[bytes]) -> list[int]:
        # Half of all rows come through here, hence the commonest key in place.
        if self._key_columns == 1:
            return [crc32(row[:comma] if (comma := row.find(b",", 0, KEY_CAP)) > 0 else self._key(row)) for row in rows]
        return [crc32(self._key(row)) for row in rows]

    def _key(self, row: bytes) -> bytes:
        at = 0
        for _ in range(self._key_columns):
            at = row.find(b",", at, KEY_CAP) + 1
            if not at:
                break
        return row[: at - 1] if at else row[:PLAIN_KEY]

    def _next(self, key_hash: int) -> None:
        self._close()
        base = name = f"{key_hash:08x}"
        number = 2
        while name in self._names:
            name = f"{base}-{number}"
            number += 1
        self._name = name

    def _put(self, data: bytes, rows: int) -> None:
        if self._file is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._names.add(self._name)
            self._file = open(self._directory / self._name, "wb", buffering=0)  # noqa: SIM115 - closed in _close
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(data)
        self._rows += rows

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self.files.append((self._name, self._rows, self._size))
        self._size = self._rows = 0
