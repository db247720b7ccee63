"""The index of a profile (docs/formats/dirindex.md): read in both versions, written in version 2."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ..api.errors import FormatError
from ..api.files import atomic_write
from .content import file_digest, link_target
from .escape import HEADER, check_path, escape, quoted, sort_key, unescape
from .model import Entry
from .scan import Walk, entry_of
from .sorting import in_order

_DAMAGED = "The index is damaged: get the profile again with `tklbam init --force-profile`."
_NUMBERS = rb"([0-9a-f]{1,16})\t" * 4 + rb"(-?[0-9a-f]{1,16})"
_V1 = re.compile(rb"([^\t]*)\t" + _NUMBERS + rb"(?:\t([^\t]*))?\n")
_V2 = re.compile(rb"([^\t]*)\t" + _NUMBERS + rb"\t(-|-?[0-9a-f]{1,24})\t([^\t]*)\n")
_DIGEST = re.compile(rb"[0-9a-f]{32}")
_COLUMNS = {1: "6 or 7", 2: "8"}


def read_index(file: Path, *, relative: bool = False) -> Iterator[Entry]:
    """The entries of an index of either version, in the order they have there; streams.

    With `relative`, paths may be relative. Raises FormatError with the line, OSError.
    """
    with file.open("rb") as lines:
        version = index_version(lines)
        for number, line in enumerate(lines, start=version):  # in version 2 the header is line 1
            yield parse_record(file, number, line, version, relative=relative)


def index_version(lines: BinaryIO) -> int:
    """1 or 2; the file then stands at the first record."""
    if lines.read(len(HEADER)) == HEADER:
        return 2
    lines.seek(0)
    return 1


def parse_record(file: Path, number: int, line: bytes, version: int, *, relative: bool = False) -> Entry:
    """The entry in a line (its end included). Raises FormatError."""
    try:
        return _parse(line, version, relative)
    except ValueError as error:
        raise FormatError(file, number, str(error), _DAMAGED) from None


def _parse(line: bytes, version: int, relative: bool) -> Entry:
    if not line.endswith(b"\n"):
        if version == 2:
            raise ValueError("the last record is cut short")
        line += b"\n"
    match = (_V1 if version == 1 else _V2).fullmatch(line)
    if match is None:
        raise ValueError(_what_is_wrong(line, version))
    path, *numbers = match.groups(default=b"")
    last = numbers.pop()
    ctime = numbers.pop() if version == 2 else b"-"
    mode, uid, gid, size, mtime = (int(number, 16) for number in numbers)
    if version == 2:
        path, last = unescape(path), last if last == b"-" else unescape(last)
    check_path(path, relative=relative)
    if mode > 0xFFFF or max(uid, gid) > 0xFFFFFFFF:
        raise ValueError(f"the mode or owner of {quoted(path)} is out of range")
    known = None if ctime == b"-" else int(ctime, 16)
    if stat.S_ISLNK(mode):
        return Entry(path, mode, uid, gid, size, mtime, known, None, last or None)
    if version == 2 and last != b"-":
        if not stat.S_ISREG(mode) or not _DIGEST.fullmatch(last):
            raise ValueError(f"{quoted(last)} is no digest")
        return Entry(path, mode, uid, gid, size, mtime, known, last.decode("ascii"))
    if version == 1 and last:
        raise ValueError(f"{quoted(path)} is no link, and has a target")
    return Entry(path, mode, uid, gid, size, mtime, known)


def _what_is_wrong(line: bytes, version: int) -> str:
    columns = line[:-1].split(b"\t")
    allowed = {1: (6, 7), 2: (8,)}[version]
    if len(columns) not in allowed:
        return f"{len(columns)} columns where {_COLUMNS[version]} belong"
    names = ("mode", "uid", "gid", "size", "mtime", "ctime")
    for name, column in zip(names, columns[1 : 6 if version == 1 else 7], strict=False):
        number = rb"-?[0-9a-f]{1,24}" if name in ("mtime", "ctime") else rb"[0-9a-f]{1,16}"
        if not re.fullmatch(number, column) and not (name == "ctime" and column == b"-"):
            return f"{quoted(column)} is no {name}"
    return "this is no record of an index"


def format_entry(entry: Entry) -> bytes:
    """The entry as a record of version 2, its end included."""
    ctime = b"-" if entry.ctime is None else b"%x" % entry.ctime
    if stat.S_ISLNK(entry.mode):
        last = escape(entry.target or b"")
    else:
        last = b"-" if entry.digest is None else entry.digest.encode("ascii")
    numbers = (entry.mode, entry.uid, entry.gid, entry.size, entry.mtime)
    return b"%b\t%x\t%x\t%x\t%x\t%x\t%b\t%b\n" % (escape(entry.path), *numbers, ctime, last)


class IndexWriter:
    """Writes an index of version 2, which appears at `file` whole when the block ends without an error."""

    def __init__(self, file: Path, *, mode: int = 0o600) -> None:
        self._file = file
        self._mode = mode
        self._last: bytes | None = None
        self.entries = 0

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._out = self._stack.enter_context(atomic_write(self._file, self._mode))
        self._out.write(HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def add(self, entry: Entry) -> None:
        """Raises ValueError for an entry that is out of order (see `sorting.in_order`)."""
        key = sort_key(entry.path)
        if self._last is not None and key <= self._last:
            raise ValueError(f"{quoted(entry.path)} is out of order")
        self._last = key
        self._out.write(format_entry(entry))
        self.entries += 1


def write_index(file: Path, entries: Iterable[Entry]) -> int:
    """Writes entries, which must be in order, as an index; returns how many."""
    with IndexWriter(file) as writer:
        for entry in entries:
            writer.add(entry)
    return writer.entries


def import_index(source: Path, destination: Path) -> int:
    """Writes an index of either version, in any order, as one of version 2 in order; returns the number of entries.

    Memory stays flat. Where a path occurs twice the first entry stands. Raises FormatError, OSError.
    """
    return write_index(destination, in_order(read_index(source)))


def indexed(walk: Walk, *, digests: bool) -> Iterator[Entry]:
    """The entries of a walk, with the targets of links and, if asked for, the digests of files."""
    for path, status, _ in walk:
        place = walk.place(path)
        target = digest = None
        try:
            if stat.S_ISLNK(status.st_mode):
                target = link_target(place)
            elif digests and stat.S_ISREG(status.st_mode):
                digest = file_digest(place)
        except FileNotFoundError:
            walk.report.vanished += 1
            continue
        except OSError as error:
            walk.report.problem(path, error)
        entry = entry_of(path, status, target)
        yield entry._replace(digest=digest) if digest else entry
