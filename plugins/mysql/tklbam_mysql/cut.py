"""Rows into files of bounded size, cut where their keys say so (docs/formats/myfs.md, "How the rows are cut")."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO
from zlib import crc32

MIB = 1 << 20
MINIMUM = 4 * MIB
MAXIMUM = 16 * MIB
LINE_CAP = MIB
KEY_CAP = 1024
PLAIN_KEY = 64
# (up to this many bytes in the file, average distance of cuts in bytes)
DISTANCES = ((8 * MIB, 8 * MIB), (12 * MIB, 2 * MIB), (MAXIMUM, MIB // 2))


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

    def write(self, block: bytes) -> None:
        """Takes any piece of the stream of lines."""
        if self._inside:
            end = block.find(b"\n") + 1
            if not end:
                self._put(block)
                return
            self._put(block[:end])
            self._inside = False
            block = block[end:]
        data = self._rest + block if self._rest else block
        end = data.rfind(b"\n") + 1
        self._rest = data[end:] if end else data
        if end:
            self._lines(data[:end] if self._rest else data)
        if len(self._rest) > LINE_CAP:
            if self._size >= MINIMUM:
                self._consider(self._rest, LINE_CAP)
            self._put(self._rest)
            self._rest = b""
            self._inside = True

    def finish(self) -> None:
        """Closes the last file. Without a single row there is none."""
        if self._rest:
            self._put(self._rest + b"\n")
            self._rest = b""
        self._close()

    def _lines(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._size < MINIMUM:
                # Nothing can be cut before the minimum: take all lines up to it in one piece.
                stop = data.find(b"\n", min(at + MINIMUM - self._size, len(data)) - 1) + 1 or len(data)
            else:
                stop = self._find_cut(data, at)
                if stop == at:
                    end = data.find(b"\n", at) + 1
                    self._next(crc32(self._key(data, at, end)))
                    stop = end
            self._put(data[at:stop])
            at = stop

    def _find_cut(self, data: bytes, at: int) -> int:
        """Where the first line from `at` on starts that begins a new file, the end of `data` where none does."""
        # This loop sees half of all rows, hence its local names.
        find, key, size, total = data.find, self._key, self._size, len(data)
        bound = distance = 0
        while at < total:
            if size >= bound:
                bound, distance = distance_at(size)
            end = find(b"\n", at) + 1
            length = end - at
            if crc32(key(data, at, end)) * distance < (length if length < LINE_CAP else LINE_CAP) << 32:
                return at
            size += length
            at = end
        return at

    def _consider(self, line: bytes, length: int) -> None:
        key_hash = crc32(self._key(line, 0, len(line)))
        if key_hash * distance_at(self._size)[1] < length << 32:
            self._next(key_hash)

    def _key(self, data: bytes, start: int, end: int) -> bytes:
        if self._key_columns == 1:
            comma = data.find(b",", start, min(end, start + KEY_CAP))
            return data[start:comma] if comma >= 0 else data[start : min(end, start + PLAIN_KEY)]
        at = start
        for _ in range(self._key_columns):
            at = data.find(b",", at, min(end, start + KEY_CAP)) + 1
            if not at:
                break
        return data[start : at - 1] if at > start else data[start : min(end, start + PLAIN_KEY)]

    def _next(self, key_hash: int) -> None:
        self._close()
        base = name = f"{key_hash:08x}"
        number = 2
        while name in self._names:
            name = f"{base}-{number}"
            number += 1
        self._name = name

    def _put(self, data: bytes) -> None:
        if not data:
            return
        if self._file is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._names.add(self._name)
            self._file = open(self._directory / self._name, "wb", buffering=0)  # noqa: SIM115 - closed in _close
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(data)
        self._rows += data.count(b"\n")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self.files.append((self._name, self._rows, self._size))
        self._size = self._rows = 0
