"""Carrying, in the extras, what the overlay's archive can't: attributes, hard links, holes, names that are not UTF-8.

The files are specified in docs/formats/carry.md.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..api.errors import SpaceError
from .attributes import NAME, ProfileAttributes, read_attributes
from .copying import write_new
from .escape import HEADER
from .metadata import out_of_space
from .model import Change
from .records import Record, attribute_columns, attributes_of, read_records, write_record
from .safepath import Place, SafeRoot, parent_of, show

HARD_LINKS = "hardlinks"
SPARSE = "sparse"
ODD_NAMES = "odd-names"
MAP = "map"

SPARSE_FROM = 64 * 1024
"""Bytes a file must have before its holes are worth a record."""

TYPES = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "link": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "socket": stat.S_IFSOCK,
}
_TYPE_NAMES = {kind: name for name, kind in TYPES.items()}
_STAGED = re.compile(rb"[0-9a-f]{32}")


def type_name(mode: int) -> str:
    """The word for a st_mode's type, as our files write it."""
    return _TYPE_NAMES[stat.S_IFMT(mode)]


def short_name(path: bytes) -> bytes:
    """A name in ASCII that stands for a path, the same at every session."""
    return hashlib.sha256(path).hexdigest()[:32].encode("ascii")


def is_odd(path: bytes) -> bool:
    """Whether a path can't stand in a list of file names that must be UTF-8."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


class CarryWriter:
    """Writes the four files while the delta streams: `add` each change, in order. A context manager.

    Memory grows with the files that have several names, the directories with odd names, and nothing else. `problems`
    says, in words, what could not be read: then the session is incomplete. A path that vanished meanwhile is none.
    """

    def __init__(self, extras: Path, root: Path, attributes: ProfileAttributes | None = None) -> None:
        self.problems: list[str] = []
        self._extras = extras
        self._root = SafeRoot(root)
        self._profile = attributes
        self._files: dict[str, BinaryIO] = {}
        self._stack = contextlib.ExitStack()
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._odd_directories: set[bytes] = set()
        self._staging: SafeRoot | None = None

    def __enter__(self) -> CarryWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._root.forget()
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def add(self, change: Change) -> bool:
        """Notes what must be carried of a change; True where its path must be left out of the archive's file list.

        Raises SpaceError where the extras' file system is full.
        """
        if change.kind == "d":
            return False
        odd = change.kind == "o" and is_odd(change.path)
        try:
            place = self._root.at(change.path)
            status = place.lstat()
            if status is None:
                return odd
            self._add_attributes(change.path, place)
            if change.kind == "o":
                self._add_links(change.path, status)
                self._add_holes(change.path, place, status)
                if odd:
                    self._add_odd(change.path, place, status)
        except (FileNotFoundError, NotADirectoryError):
            return odd
        except OSError as error:
            full = out_of_space(error, os.fsencode(self._extras))
            if full is not None:
                raise SpaceError(full.what, "Free some, or set extras-dir to a larger file system.") from error
            self.problems.append(f"{show(change.path)}: {error.strerror}")
        return odd

    def _add_attributes(self, path: bytes, place: Place) -> None:
        found = read_attributes(place.proc)
        if found or (self._profile is not None and path in self._profile):
            self._write(NAME, [path, *attribute_columns(found)])

    def _add_links(self, path: bytes, status: os.stat_result) -> None:
        if status.st_nlink < 2:
            return
        first = self._first_names.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            self._write(HARD_LINKS, [first, path])

    def _add_holes(self, path: bytes, place: Place, status: os.stat_result) -> None:
        # Fewer blocks than bytes may also be compression, so the file system is asked where the first hole is.
        if not stat.S_ISREG(status.st_mode) or status.st_size < SPARSE_FROM or status.st_blocks * 512 >= status.st_size:
            return
        fd = place.open_file()
        try:
            has_holes = os.lseek(fd, 0, os.SEEK_HOLE) < status.st_size
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            has_holes = False
        finally:
            os.close(fd)
        if has_holes:
            self._write(SPARSE, [path])

    def _add_odd(self, path: bytes, place: Place, status: os.stat_result) -> None:
        if stat.S_ISSOCK(status.st_mode) or stat.S_ISDIR(status.st_mode):
            return
        detail = b""
        if stat.S_ISREG(status.st_mode):
            detail = self._stage(path, place)
        elif stat.S_ISLNK(status.st_mode):
            detail = os.readlink(place.name, dir_fd=place.fd)
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            detail = b"%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
        self._add_odd_parents(parent_of(path))
        self._describe(path, status, detail)

    def _add_odd_parents(self, directory: bytes) -> None:
        if not is_odd(directory) or directory in self._odd_directories:
            return
        self._add_odd_parents(parent_of(directory))
        status = self._root.at(directory).lstat()
        if status is not None:
            self._describe(directory, status, b"")
            self._odd_directories.add(directory)

    def _describe(self, path: bytes, status: os.stat_result, detail: bytes) -> None:
        numbers = b"0%o" % status.st_mode, b"%d" % status.st_uid, b"%d" % status.st_gid, b"%d" % status.st_mtime_ns
        self._write(f"{ODD_NAMES}/{MAP}", [path, type_name(status.st_mode).encode("ascii"), *numbers, detail])

    def _stage(self, path: bytes, place: Place) -> bytes:
        directory = self._extras / ODD_NAMES
        if self._staging is None:
            directory.mkdir(mode=0o700, exist_ok=True)
            self._staging = SafeRoot(directory)
        name = short_name(path)
        staged = self._staging.at(b"/" + name)
        reader = place.open_file()
        try:
            status = os.fstat(reader)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=staged.fd)
            write_new(reader, staged)
            os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=staged.fd)
        finally:
            os.close(reader)
        return name

    def _write(self, name: str, columns: list[bytes]) -> None:
        file = self._files.get(name)
        if file is None:
            path = self._extras / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            file = self._files[name] = self._stack.enter_context(path.open("wb"))
            file.write(HEADER)
        write_record(file, columns)


class OddFile(NamedTuple):
    """What a path that is not UTF-8 was. `content` is the staged file of a regular one, `target` a link's."""

    mode: int
    uid: int
    gid: int
    mtime: int
    content: Path | None = None
    target: bytes | None = None
    device: int = 0


class CarryReader:
    """What the extras carry, read whole and checked. Memory grows with what has attributes, links, holes, odd names.

    Raises FormatError (file and line) for a damaged file, UnsafePathError for a path that is not in plain form.
    `attributes` is None where the extras hold none of these files (v1), and then nothing is known about any path's.
    """

    def __init__(self, extras: Path) -> None:
        self._extras = extras
        self.first_names: dict[bytes, bytes] = {}
        """Path → the path it is a hard link of."""
        self.attributes: dict[bytes, Mapping[str, bytes]] = {}
        """Path → its extended attributes, where it has any or lost those of the profile."""
        self.sparse: set[bytes] = set()
        self.odd: dict[bytes, OddFile] = {}
        same: dict[tuple[bytes, ...], Mapping[str, bytes]] = {}
        for record in self._records(NAME):
            # Whole trees often share one ACL: keep one object for all of them.
            key = tuple(record.columns[1:])
            if key not in same:
                same[key] = attributes_of(record, 1)
            self.attributes[record.path()] = same[key]
        for record in self._records(HARD_LINKS):
            first, path = record.expect(2).path(0), record.path(1)
            if first == path or first in self.first_names:
                raise record.wrong("a hard link of itself, or of a path that is a link of another")
            self.first_names[path] = first
        for record in self._records(SPARSE):
            self.sparse.add(record.expect(1).path())
        for record in self._records(f"{ODD_NAMES}/{MAP}"):
            self.odd[record.expect(7).path()] = self._odd_file(record)

    def _records(self, name: str) -> Iterator[Record]:
        file = self._extras / name
        if os.path.lexists(file):
            yield from read_records(file)

    def _odd_file(self, record: Record) -> OddFile:
        mode = record.number(2, 8)
        kind, detail = os.fsdecode(record.columns[1]), record.columns[6]
        if TYPES.get(kind) != stat.S_IFMT(mode) or kind == "socket":
            raise record.wrong(f"type {kind!r} is unknown here or not that of mode 0{mode:o}")
        content, target, device = None, None, 0
        if kind == "file":
            if not _STAGED.fullmatch(detail):
                raise record.wrong("the name of the content is not 32 hex digits")
            content = self._extras / ODD_NAMES / detail.decode("ascii")
        elif kind == "link":
            if not detail or b"\0" in detail:
                raise record.wrong("a link has no target")
            target = detail
        elif kind in ("char", "block"):
            match = re.fullmatch(rb"([0-9]{1,10}):([0-9]{1,10})", detail)
            if match is None:
                raise record.wrong("a device has no major:minor")
            device = os.makedev(int(match[1]), int(match[2]))
        elif detail:
            raise record.wrong(f"a {kind} has no detail")
        return OddFile(mode, record.number(3), record.number(4), record.signed(5), content, target, device)
