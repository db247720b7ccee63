"""Cuts a table's rows, as pg_dump writes them, into pieces at boundaries that their content decides.

docs/formats/pgfs.md ("Cutting", "Names of pieces") specifies both. Memory: one buffer, whatever the table's size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tklbam_core.api import DatabaseError

try:
    from isal.isal_zlib import crc32  # several times faster than zlib's; not made for every machine
except ImportError:
    from zlib import crc32

LEAST = 1 << 20
MOST = 8 << 20
SHARE, FLOOR = 8192, 1 << 20
"""A row ends a piece when its CRC-32 is below its length times SHARE, or below FLOOR: once in 512 KiB (2^32 / 8192)
or in 4,096 rows (2^32 / 2^20) on average, whichever comes first. So a piece has up to 1.5 MiB: of one in which a row
changed, duplicity stores a new signature, some 12·√size bytes."""
TRAILER = b"\\.\n\n\n"
TRAILERS = tuple(TRAILER[:size] for size in range(1, len(TRAILER) + 1))
FIRST = "start"
BUFFER = 64 << 10
SAMPLE, FEW = 4096, 7
"""Where so many bytes hold fewer newlines than that, rows are wide, and looking for each is quicker than counting."""
WIDEST = 16384
"""Rows of which four fill more than this are not worth a list: they are looked at one by one."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a table's rows were cut into: piece names with sizes in bytes, in order, and how many rows they hold."""

    pieces: tuple[tuple[str, int], ...]
    count: int

    @property
    def size(self) -> int:
        return sum(size for _, size in self.pieces)


@dataclass(slots=True)
class _Row:
    """The row that is being read, without its newline: checksum and length so far."""

    crc: int = 0
    length: int = 0

    def add(self, part: bytes | memoryview) -> None:
        self.crc = crc32(part, self.crc)
        self.length += len(part)

    @property
    def is_anchor(self) -> bool:
        return self.crc < max((self.length + 1) * SHARE, FLOOR)

    @property
    def name(self) -> str:
        return f"{self.crc:08x}{self.length:08x}"


class Cutter:
    """Takes a data file of pg_dump's as it comes and writes the pieces below `directory`, which is made."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._target: int | None = None
        self._name = FIRST
        self._size = 0
        self._row: _Row | None = None  # None: in a row that can't end the piece
        self._rest = b""
        self._count = 0
        self._pieces: list[tuple[str, int]] = []
        self._taken: dict[str, int] = {}

    def feed(self, data: bytes) -> None:
        """Takes the next bytes. Raises OSError where a piece can't be written."""
        if self._rest:
            data = self._rest + data
        # What may be the trailer's beginning is not rows, or not yet.
        end = len(data)
        if data.endswith(TRAILERS):
            end -= next(size for size in range(len(TRAILER), 0, -1) if data.endswith(TRAILER[:size]))
        self._rest = data[end:]
        at = 0
        while at < end:
            stop, anchor = end, ""
            if self._size + end - at > LEAST:
                stop, self._row, anchor = _find(data, at, end, at - self._size, self._row)
            self._write(data, at, stop)
            if anchor:
                self._end_piece(anchor)
            at = stop

    def finish(self) -> Rows:
        """Ends the last piece. Raises DatabaseError where pg_dump has not written its trailer."""
        self.close()
        if self._rest != TRAILER:
            raise DatabaseError("rows were not written to their end by pg_dump", "Run the backup again.")
        if self._size:
            self._pieces.append((self._name, self._size))
        return Rows(tuple(self._pieces), self._count)

    def close(self) -> None:
        if self._target is not None:
            os.close(self._target)
            self._target = None

    def _write(self, data: bytes, at: int, stop: int) -> None:
        if self._target is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / f"{self._name}.rows"
            self._target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size += stop - at
        self._count += newlines(data, at, stop)
        view = memoryview(data)[at:stop]
        while view:
            view = view[os.write(self._target, view) :]

    def _end_piece(self, anchor: str) -> None:
        self._pieces.append((self._name, self._size))
        self.close()
        self._taken[anchor] = self._taken.get(anchor, 0) + 1
        self._name = anchor if self._taken[anchor] == 1 else f"{anchor}-{self._taken[anchor]}"
        self._size = 0
        self._row = None


def is_complete(descriptor: int) -> bool:
    """Whether pg_dump has written a data file to its end: its trailer can't occur in rows."""
    size = os.fstat(descriptor).st_size
    if size == len(TRAILER):
        return os.pread(descriptor, len(TRAILER), 0) == TRAILER
    return size > len(TRAILER) and os.pread(descriptor, len(TRAILER) + 1, size - len(TRAILER) - 1) == b"\n" + TRAILER


def cut(source: Path, directory: Path) -> Rows:
    """Moves the rows of a complete data file into pieces in `directory`, which is made; `source` is gone after it.

    Raises DatabaseError where the file is not complete, OSError where a piece can't be written.
    """
    with open(source, "r+b", buffering=0) as file:
        if not is_complete(file.fileno()):
            raise DatabaseError(f"{source.name} was not written to its end by pg_dump", "Run the backup again.")
        size = os.fstat(file.fileno()).st_size - len(TRAILER)
        if 0 < size <= LEAST:
            return _move(source, file.fileno(), size, directory)
        cutter = Cutter(directory)
        try:
            while chunk := file.read(BUFFER):
                cutter.feed(chunk)
            rows = cutter.finish()
        finally:
            cutter.close()
    source.unlink()
    return rows


def _move(source: Path, descriptor: int, size: int, directory: Path) -> Rows:
    """One piece: the file itself."""
    count = sum(newlines(os.pread(descriptor, min(BUFFER, size - at), at)) for at in range(0, size, BUFFER))
    os.ftruncate(descriptor, size)
    os.fchown(descriptor, os.geteuid(), os.getegid())
    os.fchmod(descriptor, 0o600)
    directory.mkdir(parents=True, exist_ok=True)
    os.rename(source, directory / f"{FIRST}.rows")
    return Rows(((FIRST, size),), count)


def newlines(data: bytes, at: int = 0, stop: int | None = None) -> int:
    """How many newlines there are in `data[at:stop]`."""
    stop = len(data) if stop is None else stop
    found = 0
    if data.count(b"\n", at, min(at + SAMPLE, stop)) < FEW:
        while found < SAMPLE:
            at = data.find(b"\n", at, stop) + 1
            if not at:
                return found
            found += 1
    return found + data.count(b"\n", at, stop)


def _find(data: bytes, at: int, end: int, began: int, row: _Row | None) -> tuple[int, _Row | None, str]:
    """Looks in `data[at:end]` for the row that ends the piece, which began at `began` (below 0: in data before this).

    Returns where it stops, or `end`; the row in progress there; the name that the row gives to the next piece, or "".
    """
    most = began + MOST
    if row is None:
        # The row that the least size falls into is not a candidate, nor is anything before it.
        newline = data.find(b"\n", max(began + LEAST, at), end)
        if newline < 0:
            return end, None, ""
        at = newline + 1
        row = _Row()
    if data.count(b"\n", at, min(at + WIDEST, end)) < 4:
        return _find_wide(data, at, end, most, row)
    lines = data[at:end].split(b"\n")
    rest = lines.pop()
    if lines and row.length:
        row.add(lines[0])
        at += len(lines[0]) + 1
        if row.is_anchor or at >= most:
            return at, None, row.name
        del lines[0]
        row = _Row()
    if lines:
        found = _find_whole(lines, at, end - len(rest), most)
        if found is not None:
            return found[0], None, found[1]
    if rest:
        row.add(rest)
    return end, row, ""


def _find_wide(data: bytes, at: int, end: int, most: int, row: _Row) -> tuple[int, _Row | None, str]:
    """Row by row, with nothing copied: the way for few rows."""
    view = memoryview(data)
    while (newline := data.find(b"\n", at, end)) >= 0:
        row.add(view[at:newline])
        at = newline + 1
        if row.is_anchor or at >= most:
            return at, None, row.name
        row = _Row()
    row.add(view[at:end])
    return end, row, ""


def _find_whole(lines: list[bytes], at: int, stop: int, most: int) -> tuple[int, str] | None:
    """The first of these rows (newlines stripped) that ends a piece: where it stops, and its name."""
    # All at once first: that is several times faster than row by row, and mostly there is none.
    if stop < most and min(map(crc32, lines)) >= max((max(map(len, lines)) + 1) * SHARE, FLOOR):
        return None
    for line in lines:
        row = _Row(crc32(line), len(line))
        at += row.length + 1
        if row.is_anchor or at >= most:
            return at, row.name
    return None
