"""Paths of a system below its root, opened so that nothing a path, a link or another process does leads out of it.

Parents are opened one by one with O_NOFOLLOW from the root's own descriptor; a symbolic link among them is read and
interpreted as inside the root, as chroot(2) would. What comes back is the parent's descriptor and a name: every later
operation is relative to that descriptor and never follows the name, so it can't be redirected in between.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ..api.errors import UnsafePathError

MAX_LINKS = 40
"""Symbolic links followed in one path, as in Linux."""

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def show(path: bytes) -> str:
    """A path as a message prints it: one line, whatever bytes it has."""
    text = path.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def components(path: bytes) -> list[bytes]:
    """The components of an absolute path; none for `/`. Raises UnsafePathError for any path not in plain form."""
    if path == b"/":
        return []
    parts = path.split(b"/")
    if parts[0] or len(parts) < 2 or b"\0" in path or any(part in (b"", b".", b"..") for part in parts[1:]):
        raise UnsafePathError(
            f"{show(path)!r} is not an absolute path in plain form (no empty, '.' or '..' components)",
            "The backup is damaged or was tampered with; nothing of this path is applied.",
        )
    return parts[1:]


def parent_of(path: bytes) -> bytes:
    """The directory a plain absolute path lies in; `/` for `/`."""
    return path.rpartition(b"/")[0] or b"/"


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether `path` lies (strictly) below `directory`."""
    return path != directory and path.startswith(directory.rstrip(b"/") + b"/")


class Directory:
    """An open directory (O_PATH). Closed when the last place that holds it is gone."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)

    def status(self) -> os.stat_result:
        return os.stat(b".", dir_fd=self.fd)

    def readable(self) -> int:
        """A new descriptor for reading the directory or syncing it; the caller closes it."""
        return os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)

    def names(self) -> list[bytes]:
        """What is in it, in no order."""
        fd = self.readable()
        try:
            return [os.fsencode(name) for name in os.listdir(fd)]
        finally:
            os.close(fd)


class Place:
    """A name in an open directory: where a path is, or would be. `path` is as asked for, for messages.

    Use it as `os.rename(place.name, …, src_dir_fd=place.fd)`; all its own methods leave a final link unfollowed.
    """

    __slots__ = ("directory", "name", "path")

    def __init__(self, directory: Directory, name: bytes, path: bytes) -> None:
        self.directory = directory
        self.name = name
        self.path = path

    @property
    def fd(self) -> int:
        return self.directory.fd

    @property
    def proc(self) -> bytes:
        """A path for calls that take no descriptor (extended attributes): use it without following links."""
        return b"/proc/self/fd/%d/%s" % (self.fd, self.name)

    def lstat(self) -> os.stat_result | None:
        """None where nothing is there."""
        try:
            return os.lstat(self.name, dir_fd=self.fd)
        except FileNotFoundError:
            return None

    def beside(self, name: bytes) -> Place:
        """Another name in the same directory."""
        return Place(self.directory, name, parent_of(self.path).rstrip(b"/") + b"/" + name)

    def inside(self) -> Directory:
        """This directory, opened. Raises NotADirectoryError, also for a link to one."""
        return Directory(os.open(self.name, _DIRECTORY, dir_fd=self.fd))

    def below(self, directory: Directory, name: bytes) -> Place:
        """An entry of this directory, which `inside` has opened."""
        return Place(directory, name, self.path.rstrip(b"/") + b"/" + name)

    def open_file(self, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """A descriptor of a regular file. O_NONBLOCK, so that a fifo put here meanwhile can't make this hang."""
        fd = os.open(self.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=self.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(self.path))
        return fd


class SafeRoot:
    """A system's root directory, held open. A context manager; places outlive it."""

    def __init__(self, root: Path) -> None:
        self.path = root
        self._root = Directory(os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        self._cached: tuple[bytes, Directory] | None = None

    def __enter__(self) -> SafeRoot:
        return self

    def __exit__(self, *exception: object) -> None:
        self.forget()

    def at(self, path: bytes) -> Place:
        """Where `path` is, or would be, its final component not followed.

        Raises UnsafePathError where the path or a link among its parents leads out of the root, FileNotFoundError
        or NotADirectoryError where a parent is missing or no directory, OSError (ELOOP) for a loop of links. `/`
        itself is the name `.` in the root.
        """
        parts = components(path)
        if not parts:
            return Place(self._root, b".", path)
        return Place(self.directory(parent_of(path), parts[:-1]), parts[-1], path)

    def directory(self, path: bytes, parts: list[bytes] | None = None) -> Directory:
        """The directory that `path` is or, through links, leads to. Raises as `at` does."""
        # Deltas come in tree order, so most paths share their parent with the one before.
        if self._cached is not None and self._cached[0] == path:
            return self._cached[1]
        directory = self._walk(components(path) if parts is None else parts, path)
        self._cached = (path, directory)
        return directory

    def leads_to_directory(self, path: bytes) -> bool:
        """Whether `path` is a directory or, through links, leads to one. Raises UnsafePathError as `at` does."""
        try:
            self.directory(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return False
        return True

    def forget(self) -> None:
        """To be called when a directory or a link has been moved, removed or replaced: parents may lead elsewhere."""
        self._cached = None

    def host_path(self, path: bytes) -> bytes:
        """The path with the root's own in front, unresolved: for showing, never for opening."""
        return os.fsencode(self.path).rstrip(b"/") + path

    def _walk(self, parts: list[bytes], path: bytes) -> Directory:
        pending = parts[::-1]
        opened = [self._root]
        links = 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(opened) == 1:
                    raise UnsafePathError(
                        f"a symbolic link on the way to {show(path)} leads out of the root {self.path}",
                        "Remove or correct that link, then run this again.",
                    )
                opened.pop()
                continue
            try:
                opened.append(Directory(os.open(name, _DIRECTORY, dir_fd=opened[-1].fd)))
            except NotADirectoryError:
                try:
                    target = os.readlink(name, dir_fd=opened[-1].fd)
                except OSError:
                    raise NotADirectoryError(errno.ENOTDIR, "a parent is not a directory", os.fsdecode(path)) from None
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path)) from None
                if target.startswith(b"/"):
                    del opened[1:]
                pending.extend(reversed(target.split(b"/")))
        return opened[-1]
