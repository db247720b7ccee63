"""Cuts a table's rows, as pg_dump writes them, into pieces at boundaries that their content decides.

docs/formats/pgfs.md ("Cutting", "Names of pieces") specifies both. Memory: one buffer, whatever the table's size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from tklbam_core.api import DatabaseError

LEAST = 1 << 20
MOST = 8 << 20
SHARE, FLOOR = 8192, 1 << 19
"""A row ends a piece when its CRC-32 is below its length times SHARE, or below FLOOR: once in 512 KiB (2^32 / 8192)
or in 8,192 rows (2^32 / 2^19) on average, whichever comes first. So a piece has about 1.5 MiB: of one in which a row
changed, duplicity stores a new signature, some 12·√size bytes."""
TRAILER = b"\\.\n\n\n"
FIRST = "start"
BUFFER = 64 << 10
SAMPLE, FEW = 4096, 4


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
        held = next((size for size in range(len(TRAILER), 0, -1) if data.endswith(TRAILER[:size])), 0)
        self._rest = data[len(data) - held :]
        if held:
            data = data[:-held]
        while data:
            stop, anchor = len(data), ""
            if self._size + len(data) > LEAST:
                stop, self._row, anchor = _find(data, LEAST - self._size, MOST - self._size, self._row)
            self._write(data[:stop])
            if anchor:
                self._end_piece(anchor)
            data = data[stop:]

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

    def _write(self, data: bytes) -> None:
        if self._target is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / f"{self._name}.rows"
            self._target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size += len(data)
        self._count += data.count(b"\n")
        view = memoryview(data)
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
    count = sum(os.pread(descriptor, min(BUFFER, size - at), at).count(b"\n") for at in range(0, size, BUFFER))
    os.ftruncate(descriptor, size)
    os.fchown(descriptor, os.geteuid(), os.getegid())
    os.fchmod(descriptor, 0o600)
    directory.mkdir(parents=True, exist_ok=True)
    os.rename(source, directory / f"{FIRST}.rows")
    return Rows(((FIRST, size),), count)


def _find(chunk: bytes, least: int, most: int, row: _Row | None) -> tuple[int, _Row | None, str]:
    """Looks for the row that ends the piece: (where it stops in the chunk, row in progress, its name or "")."""
    at = 0
    if row is None:
        # The row that the least size falls into is not a candidate, nor is anything before it.
        newline = chunk.find(b"\n", max(least, 0))
        if newline < 0:
            return len(chunk), None, ""
        at = newline + 1
        row = _Row()
    if chunk.count(b"\n", at, at + SAMPLE) < FEW:
        return _find_wide(chunk, at, most, row)
    lines = chunk[at:].split(b"\n")
    rest = lines.pop()
    if lines and row.length:
        row.add(lines[0])
        at += len(lines[0]) + 1
        if row.is_anchor or at >= most:
            return at, None, row.name
        lines = lines[1:]
        row = _Row()
    if lines:
        found = _find_whole(lines, at, most)
        if found is not None:
            return found[0], None, found[1]
    if rest:
        row.add(rest)
    return len(chunk), row, ""


def _find_wide(chunk: bytes, at: int, most: int, row: _Row) -> tuple[int, _Row | None, str]:
    """Row by row, with nothing copied: the way for few rows."""
    view = memoryview(chunk)
    while (newline := chunk.find(b"\n", at)) >= 0:
        row.add(view[at:newline])
        at = newline + 1
        if row.is_anchor or at >= most:
            return at, None, row.name
        row = _Row()
    row.add(view[at:])
    return len(chunk), row, ""


def _find_whole(lines: list[bytes], at: int, most: int) -> tuple[int, str] | None:
    """The first of these rows (newlines stripped) that ends a piece: where it stops, and its name."""
    checksums = list(map(crc32, lines))
    lengths = list(map(len, lines))
    # All at once first: that is several times faster than row by row, and mostly there is none.
    if min(checksums) >= max((max(lengths) + 1) * SHARE, FLOOR) and at + sum(lengths) + len(lines) < most:
        return None
    for checksum, length in zip(checksums, lengths, strict=True):
        at += length + 1
        if checksum < (length + 1) * SHARE or checksum < FLOOR or at >= most:
            return at, _Row(checksum, length).name
    return None
