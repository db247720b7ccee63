"""What became of a system since its profile: the index and a walk, merged while both stream."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from ..api.errors import FormatError
from .content import file_digest, link_target, open_regular
from .dirindex import import_index, index_version, parse_record
from .escape import quoted, sort_key
from .model import Change, Entry, Kind
from .rules import PathRules
from .scan import ScanReport, Walk

_DAMAGED = "The index is damaged: get the profile again with `tklbam init --force-profile`."


def find_changes(
    *,
    root: Path,
    index: Path | None,
    rules: PathRules,
    skip: Collection[bytes] = (),
    checksum: bool = False,
    attributes: Callable[[bytes], bool] | None = None,
    report: ScanReport,
) -> Iterator[Change]:
    """The changes on the system under `root` against `index` (None: an empty one), in the order of an index.

    What counts as a change is the table in docs/formats/dirindex.md. `skip` are absolute paths that are never
    scanned. With `checksum`, files that look unchanged are read and compared by digest. `attributes(path)` tells
    whether a path's extended attributes differ from the profile's; it is asked where only ctime differs. `report` is
    filled while this runs. An index of version 1 is sorted first, in a temporary file; better import it once.
    Raises FormatError for a damaged index.
    """
    walk = Walk(root, rules.resolve(root), skip=skip, report=report)
    judge = _Judge(walk, checksum, attributes)
    with _open_index(index) as known:
        for path, status, column in walk:
            # An unchanged path is an unchanged line, up to its digest: most paths are told by one comparison.
            if known.line.startswith(
                b"%b\t%x\t%x\t%x\t%x\t%x\t%x\t"
                % (column, status[0], status[4], status[5], status[6], status[8], status.st_ctime_ns)  # type: ignore[str-format]
            ):
                if not (checksum and stat.S_ISREG(status[0])):
                    known.passed(path)
                    continue
                entry: Entry | None = known.take(path)
            else:
                yield from _gone(walk, known, sort_key(path))
                entry = known.take(path)
            kind = judge.kind(path, status, entry)
            if kind == "d":
                yield Change("d", path)
            elif kind is not None:
                inode = (status.st_dev, status.st_ino)
                size, links = status.st_size, status.st_nlink
                yield Change(kind, path, status.st_uid, status.st_gid, status.st_mode, size, links, inode)
        yield from _gone(walk, known, None)


def _gone(walk: Walk, known: _Index, key: bytes | None) -> Iterator[Change]:
    """Deletions, up to the path of a key (None: the end), of what the walk would have met were it there."""
    while known.line:
        entry = known.entry()
        if key is not None and sort_key(entry.path) >= key:
            return
        known.passed(entry.path)
        if walk.covers(entry.path):
            yield Change("d", entry.path)


class _Index:
    """The index as the merge goes through it: the line it has come to (empty at the end), parsed when asked for."""

    def __init__(self, stream: BinaryIO, file: Path) -> None:
        self._stream = stream
        self._file = file
        self._readline = stream.readline
        self._last: bytes | None = None
        self._parsed: Entry | None = None
        self.line = self._readline()

    def check_end(self) -> None:
        """Raises FormatError where the file was cut short: what is missing would pass for new on the system."""
        here = self._stream.tell()
        size = self._stream.seek(0, os.SEEK_END)
        self._stream.seek(max(size - 1, 0))
        if self._stream.read() not in (b"\n", b""):
            raise FormatError(self._file, self._line_number(size), "the last record is cut short", _DAMAGED)
        self._stream.seek(here)

    def passed(self, path: bytes) -> None:
        """Goes on to the next line; `path` is that of the line gone past."""
        self._last = path
        self._parsed = None
        self.line = self._readline()

    def entry(self) -> Entry:
        """The entry in the line. Raises FormatError where it is none, or is out of order."""
        if self._parsed is None:
            try:
                entry = parse_record(self._file, 0, self.line, 2)
            except FormatError as error:
                what = error.what.removeprefix(f"{self._file}:0: ")
                raise FormatError(self._file, self._line_number(self._here()), what, error.remedy) from None
            if self._last is not None and sort_key(entry.path) <= sort_key(self._last):
                what = f"{quoted(entry.path)} is out of order after {quoted(self._last)}"
                raise FormatError(self._file, self._line_number(self._here()), what, _DAMAGED)
            self._parsed = entry
        return self._parsed

    def take(self, path: bytes) -> Entry | None:
        """The entry of a path, and goes past it; None where the line is not that path's."""
        if not self.line:
            return None
        entry = self.entry()
        if entry.path != path:
            return None
        self.passed(path)
        return entry

    def _here(self) -> int:
        return self._stream.tell() - len(self.line)

    def _line_number(self, end: int) -> int:
        # Counted only when an error asks for it, for counting costs time in each of a million lines.
        self._stream.seek(0)
        number = 1
        while end > 0 and (block := self._stream.read(min(end, 1 << 20))):
            number += block.count(b"\n")
            end -= len(block)
        return number


@contextmanager
def _open_index(index: Path | None) -> Iterator[_Index]:
    with ExitStack() as stack:
        stream: BinaryIO = stack.enter_context(open(index or os.devnull, "rb"))
        if index is not None and index_version(stream) == 1 and stream.peek(1):  # type: ignore[attr-defined]
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tklbam-index-"))
            ours = Path(directory) / "dirindex"
            import_index(index, ours)
            index, stream = ours, stack.enter_context(ours.open("rb"))
            index_version(stream)
        known = _Index(stream, index or Path(os.devnull))
        known.check_end()
        yield known


class _Judge:
    """Tells what kind of change a path is, by the table."""

    def __init__(self, walk: Walk, checksum: bool, attributes: Callable[[bytes], bool] | None) -> None:
        self._walk = walk
        self._report = walk.report
        self._checksum = checksum
        self._attributes = attributes

    def kind(self, path: bytes, status: os.stat_result, entry: Entry | None) -> Kind | None:
        """`entry` is what the index has for the path; None: no change, or none that can be read."""
        type_ = stat.S_IFMT(status.st_mode)
        if type_ == stat.S_IFDIR:
            if entry is None or not stat.S_ISDIR(entry.mode):
                return "s"
        else:
            try:
                if self._has_new_content(path, status, type_, entry):
                    if type_ == stat.S_IFREG:  # one that can't be read would stop the archive engine
                        os.close(open_regular(self._walk.place(path)))
                    return "o"
            except FileNotFoundError:
                self._report.vanished += 1
                still_there = os.path.lexists(self._walk.place(path))
                return None if entry is None or still_there else "d"
            except OSError as error:
                self._report.problem(path, error)
                return None
        assert entry is not None
        if (status.st_mode, status.st_uid, status.st_gid) != (entry.mode, entry.uid, entry.gid):
            return "s"
        if self._attributes and entry.ctime not in (None, status.st_ctime_ns) and self._attributes(path):
            return "a"
        return None

    def _has_new_content(self, path: bytes, status: os.stat_result, type_: int, entry: Entry | None) -> bool:
        if entry is None or stat.S_IFMT(entry.mode) != type_:
            return True
        same = entry.size == status.st_size and entry.mtime == status[stat.ST_MTIME]
        if type_ == stat.S_IFLNK and entry.target is not None:
            if same and entry.ctime == status.st_ctime_ns:
                return False
            return link_target(self._walk.place(path)) != entry.target
        if not same:
            return True
        return self._checksum and type_ == stat.S_IFREG and self._digest_differs(path, entry)

    def _digest_differs(self, path: bytes, entry: Entry) -> bool:
        if entry.digest is None:
            self._report.unchecked += 1
            return False
        return file_digest(self._walk.place(path)) != entry.digest
