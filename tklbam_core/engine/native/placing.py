"""Restored paths put into an empty directory, which nothing leaves: every step is made from an open directory."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from ...api.errors import EngineError
from .entries import Entry
from .patching import patched
from .tarheader import CHARACTER, DEVICE, DIRECTORY, FIFO, FILE, SYMLINK, Header

_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
_LONGEST = 4096
"""Bytes of a path, which no system call takes in one piece if it has more."""
_BLOCK = 4096
"""Bytes by which files grow on most disks."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeNameError(ValueError):
    """A path that would lead out of the directory."""


class NoRoomError(Exception):
    """Content takes more bytes than it may."""


class Placer:
    """Makes the paths below `destination`, in the order of their components.

    With `own` they get their owners, by number. `scratch` is for what deltas are applied to. `unread` is told of paths
    that could not be made, and why. Content may take `room` bytes of a disk (None: any number), else NoRoomError is
    raised.
    """

    def __init__(
        self,
        destination: Path,
        own: bool,
        scratch: Path,
        unread: Callable[[bytes, str], None],
        room: int | None = None,
    ) -> None:
        self._own = own
        self._scratch = scratch
        self._unread = unread
        self._room = room
        # Directories that are open: their names from the destination on, and what they get at the end.
        self._open: list[tuple[bytes, int, Header | None]] = [(b"", os.open(destination, _DIRECTORY), None)]

    def place(self, path: bytes, entries: Sequence[Entry]) -> None:
        """Makes what the entries led to. Raises ValueError for what can't be, OSError where a disk fails."""
        newest = entries[-1]
        if newest.word == b"deleted":
            return
        begin = max((number for number, entry in enumerate(entries) if entry.word != b"diff"), default=-1)
        entries, header = entries[max(0, begin) :], newest.header
        if begin < 0 or entries[0].word == b"deleted":
            raise ValueError(f"{path[:200]!r} is a change of nothing")
        if len(entries) > 1 and any(entry.header.kind != FILE for entry in entries):
            raise ValueError(f"{path[:200]!r} is no file, and has a delta")
        if not path:
            if header.kind != DIRECTORY:
                raise ValueError("what everything lies in is no directory")
            self._open[0] = (b"", self._open[0][1], header)
            return
        parents, _, name = path.rpartition(b"/")
        _check(name)
        with self._telling(path):
            if len(path) > _LONGEST:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            self._enter(parents)
            self._make(path, name, header, entries)

    @contextlib.contextmanager
    def _telling(self, path: bytes) -> Iterator[None]:
        """What fails for one path is told, and the rest goes on."""
        try:
            yield
        except EngineError as error:
            self._unread(path, error.what)
        except OverflowError:
            self._unread(path, "a number in its header is absurd")
        except OSError as error:
            if error.errno in _FATAL:
                raise
            if error.errno == errno.EEXIST:
                raise ValueError(f"{path[:200]!r} is in it twice") from error
            self._unread(path, error.strerror or str(error))

    def finish(self) -> None:
        """Gives the directories that are still open what belongs to them."""
        while self._open:
            self._leave()

    def _enter(self, parents: bytes) -> None:
        """Opens the directory in which the next path lies, and those on the way that nothing was said of."""
        while not _is_within(parents, self._open[-1][0]):
            self._leave()
        done = self._open[-1][0]
        missing = parents[len(done) + 1 if done else 0 :]
        for name in missing.split(b"/") if missing else ():
            _check(name)
            done = done + b"/" + name if done else name
            above = self._open[-1][1]
            try:
                os.mkdir(name, 0o700, dir_fd=above)
            except FileExistsError as error:
                raise UnsafeNameError(f"{done[:200]!r} is no directory, and has something in it") from error
            self._open.append((done, os.open(name, _DIRECTORY, dir_fd=above), None))

    def _leave(self) -> None:
        path, descriptor, header = self._open.pop()
        try:
            if header is not None:
                with self._telling(path):
                    self._give(descriptor, header)
        finally:
            os.close(descriptor)

    def _give(self, descriptor: int, header: Header) -> None:
        if self._own:
            os.fchown(descriptor, header.uid, header.gid)
        os.fchmod(descriptor, header.mode & 0o7777)
        os.utime(descriptor, (time.time(), max(0, header.mtime)))

    def _make(self, path: bytes, name: bytes, header: Header, entries: Sequence[Entry]) -> None:
        above = self._open[-1][1]
        if header.kind == FILE:
            self._file(name, above, header, self._content(entries))
        elif header.kind == DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=above)
            self._open.append((path, os.open(name, _DIRECTORY, dir_fd=above), header))
        elif header.kind == SYMLINK:
            os.symlink(header.link, name, dir_fd=above)
            if self._own:
                os.chown(name, header.uid, header.gid, dir_fd=above, follow_symlinks=False)
        elif header.kind == FIFO:
            os.mkfifo(name, 0o600, dir_fd=above)
            self._give_by_name(name, above, header)
        elif header.kind in (CHARACTER, DEVICE):
            kind = 0o020000 if header.kind == CHARACTER else 0o060000
            os.mknod(name, kind | 0o600, os.makedev(header.major, header.minor), dir_fd=above)
            self._give_by_name(name, above, header)
        else:
            raise ValueError(f"{path[:200]!r} is of no kind that is known")

    def _give_by_name(self, name: bytes, above: int, header: Header) -> None:
        # It was made a moment ago in a directory that is nobody else's.
        if self._own:
            os.chown(name, header.uid, header.gid, dir_fd=above, follow_symlinks=False)
        os.chmod(name, header.mode & 0o7777, dir_fd=above)
        os.utime(name, (time.time(), max(0, header.mtime)), dir_fd=above)

    def _file(self, name: bytes, above: int, header: Header, content: Iterator[bytes]) -> None:
        descriptor = os.open(name, _NEW, 0o600, dir_fd=above)
        try:
            for data in content:
                self._take(len(data))
                while data:
                    data = data[os.write(descriptor, data) :]
            self._take(-os.lseek(descriptor, 0, os.SEEK_CUR) % _BLOCK)
        except (EngineError, OSError) as error:
            if not isinstance(error, OSError) or error.errno not in _FATAL:
                os.unlink(name, dir_fd=above)  # half a file is none
            raise
        else:
            self._give(descriptor, header)
        finally:
            os.close(descriptor)

    def _take(self, size: int) -> None:
        if self._room is None:
            return
        self._room -= size
        if self._room < 0:
            raise NoRoomError("there is more than there may be")

    def _content(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        content = entries[0].chunks
        for entry in entries[1:]:
            content = patched(self._kept(content), entry.chunks)
        return content

    def _kept(self, content: Iterator[bytes]) -> BinaryIO:
        """Content in a true file without a name, for a delta to copy from."""
        file = cast(BinaryIO, tempfile.TemporaryFile(dir=self._scratch, buffering=0))  # noqa: SIM115 - whoever reads it has it
        for data in content:
            while data:
                data = data[file.write(data) :]
        file.seek(0)
        return file


def _is_within(path: bytes, directory: bytes) -> bool:
    return not directory or path == directory or path.startswith(directory + b"/")


def _check(name: bytes) -> None:
    if name in (b"", b".", b"..") or b"\0" in name:
        raise UnsafeNameError(f"a path in it has {name[:200]!r} for a name")
