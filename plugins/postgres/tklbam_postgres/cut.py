"""Cuts a table's rows, as pg_dump wrote them, into pieces at boundaries that their content decides.

docs/formats/pgfs.md ("Cutting", "Names of pieces") specifies both. Memory: one buffer, whatever the table's size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from zlib import crc32

from tklbam_core.api import DatabaseError

LEAST = 7 << 20
MOST = 16 << 20
SHARE = 1 << 12
"""A row ends a piece when its CRC-32 is below its length times this: once a MiB (2^32 / 2^12) on average."""
TRAILER = b"\\.\n\n\n"
FIRST = "start"
BUFFER = 256 << 10


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
    """The row that is being read: its checksum, length and digest so far."""

    crc: int = 0
    length: int = 0
    digest: blake2b = field(default_factory=lambda: blake2b(digest_size=8))

    def add(self, part: bytes) -> None:
        self.crc = crc32(part, self.crc)
        self.length += len(part)
        self.digest.update(part)


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
    descriptor = os.open(source, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not is_complete(descriptor):
            raise DatabaseError(f"{source.name} was not written to its end by pg_dump", "Run the backup again.")
        end = os.fstat(descriptor).st_size - len(TRAILER)
        if end == 0:
            os.unlink(source)
            return Rows((), 0)
        directory.mkdir(parents=True, exist_ok=True)
        pieces: list[tuple[str, int]] = []
        taken: dict[str, int] = {}
        rows = start = first_end = 0
        name = FIRST
        while start < end:
            # The first piece stays where it is, in the file itself.
            path = directory / f"{name}.rows" if pieces else None
            stop, count, anchor = _piece(descriptor, start, end, path)
            pieces.append((name, stop - start))
            first_end = first_end or stop
            rows += count
            taken[anchor] = taken.get(anchor, 0) + 1
            name = anchor if taken[anchor] == 1 else f"{anchor}-{taken[anchor]}"
            start = stop
        os.ftruncate(descriptor, first_end)
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o600)
        os.rename(source, directory / f"{FIRST}.rows")
        return Rows(tuple(pieces), rows)
    finally:
        os.close(descriptor)


def _piece(source: int, start: int, end: int, path: Path | None) -> tuple[int, int, str]:
    """Copies one piece to `path` (None: reads only): where it stops, its rows, the name of the next piece."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600) if path else None
    try:
        at, rows = start, 0
        row: _Row | None = None  # None: in a row that can't end the piece
        while at < end:
            chunk = os.pread(source, min(BUFFER, end - at), at)
            if not chunk:
                raise DatabaseError("a file of pg_dump's was cut short while it was read", "Run the backup again.")
            stop, anchor = len(chunk), ""
            if at + len(chunk) > start + LEAST:
                stop, row, anchor = _find(chunk, start + LEAST - at, MOST - (at - start), row)
            part = chunk[:stop] if stop < len(chunk) else chunk
            rows += part.count(b"\n")
            if target is not None:
                _write(target, part)
            at += stop
            if anchor:
                return at, rows, anchor
        return end, rows, ""
    finally:
        if target is not None:
            os.close(target)


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
    lines = chunk[at:].split(b"\n")
    rest = lines.pop()
    if lines and row.length:
        row.add(lines[0])
        at += len(lines[0]) + 1
        if row.crc < (row.length + 1) * SHARE or at >= most:
            return at, None, row.digest.hexdigest()
        lines = lines[1:]
        row = _Row()
    if lines:
        stop = _find_whole(lines, at, most)
        if stop is not None:
            at, anchor = stop
            return at, None, anchor
    if rest:
        row.add(rest)
    return len(chunk), row, ""


def _find_whole(lines: list[bytes], at: int, most: int) -> tuple[int, str] | None:
    """The first of these rows (newlines stripped) that ends a piece: where it stops, and its name."""
    checksums = list(map(crc32, lines))
    lengths = list(map(len, lines))
    if min(checksums) >= (max(lengths) + 1) * SHARE and at + sum(lengths) + len(lines) < most:
        return None
    for line, checksum, length in zip(lines, checksums, lengths, strict=True):
        at += length + 1
        if checksum < (length + 1) * SHARE or at >= most:
            return at, blake2b(line, digest_size=8).hexdigest()
    return None


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
