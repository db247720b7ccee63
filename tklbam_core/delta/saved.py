"""The rollback area's files: saves the state of paths before they change, and puts it back.

Specified in docs/formats/rollback-files.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..api.errors import SpaceError, TklbamError
from .attributes import read_attributes
from .carry import short_name, type_name
from .coherent import coherent, makes
from .copying import MountedError, clone, clone_tree, refuse_mounts, remove, sync_file_system
from .metadata import out_of_space
from .model import Change
from .putback import PutBack, PutBackReport, everything
from .safepath import Directory, Place, SafeRoot, components, parent_of, show
from .savedindex import Saved, SavedIndex, write_saved

RECORD_SIZE = 200
"""Bytes a record takes, about, for estimates."""


class Room(NamedTuple):
    """Where a directory went that made room; unless it is `kept` there, it is to be removed in the end."""

    place: Place
    kept: bool


class SavedFiles:
    """The saved files of one restore, in the directory `area` (made 0700 where missing), for the system at `root`.

    `save` everything before anything changes; `displace` is for the code that places files. `restore` may be run at any
    time after, and again.
    """

    def __init__(self, area: Path, root: Path) -> None:
        self.area = area
        self.root = root
        area.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("content", "moved"):
            (area / name).mkdir(mode=0o700, exist_ok=True)
        self._index = SavedIndex(area / "index")
        self._inside = SafeRoot(area)
        self._device = os.stat(area).st_dev

    @property
    def prefix(self) -> bytes:
        """How the temporary names of this restore must begin, so that `restore` can clear them away."""
        return self._index.prefix

    def save(self, changes: Iterable[Change]) -> int:
        """Records the state of every path of `changes`, and what they hold; returns how many records were written.

        `s` and `a` keep owner, mode and attributes alone, unless the path is of another type and so must make room.
        May be called several times. When it returns all is durable; when it raises (SpaceError, UnsafePathError,
        TklbamError for what can't be read) or is killed, this batch counts for nothing.
        """
        with SafeRoot(self.root) as root:
            out = self._index.open_batch()
            saver = _Saver(self, root, out)
            try:
                for change in coherent(changes):
                    try:
                        saver.add(change)
                    except OSError as error:
                        full = out_of_space(error, os.fsencode(self.area))
                        if full is not None:
                            raise SpaceError(full.what, "Free some, or restore with --no-rollback.") from error
                        raise TklbamError(
                            f"{show(change.path)} can't be saved for a rollback: {error.strerror}",
                            "Repair that, leave the path out with --limits, or restore with --no-rollback.",
                        ) from error
                sync_file_system(self._inside.directory(b"/"))
                self._index.close_batch(out, saver.count)
            finally:
                out.close()
        return saver.count

    def displace(self, place: Place) -> Room:
        """Makes room at `place`, where a saved directory is: it moves into the area, whole.

        Where the area is on another file system its copy is in there since `save`, and the directory is renamed beside,
        to be removed once the new file has taken over. Raises OSError.
        """
        refuse_mounts(place)
        moved = self._moved(place.path)
        try:
            os.rename(place.name, moved.name, src_dir_fd=place.fd, dst_dir_fd=moved.fd)
            return Room(moved, kept=True)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.ENOTEMPTY, errno.EEXIST):
                raise
        # For layered file systems, which can't rename some of their directories even within themselves.
        self.copy_directory(place)
        aside = place.beside(self.prefix + b"aside")
        remove(aside)
        os.rename(place.name, aside.name, src_dir_fd=place.fd, dst_dir_fd=aside.fd)
        return Room(aside, kept=False)

    def restore(self, takes: Callable[[bytes], bool] = everything) -> PutBackReport:
        """Puts back every saved path that `takes` wants. Safe to run again, whenever it was killed before.

        Single paths that can't be put back are in the report's `problems`. Raises SpaceError, FormatError.
        """
        with SafeRoot(self.root) as root:
            return PutBack(self._index, self._inside, root, takes).run()

    def content(self, name: bytes) -> Place:
        """The place of something in the area's `content/`."""
        return self._inside.at(b"/content/" + name)

    def is_near(self, status: os.stat_result) -> bool:
        """Whether this is on the area's file system."""
        return status.st_dev == self._device

    def copy_directory(self, place: Place) -> None:
        """Copies a directory whole into `moved/`, unless it is there. Raises OSError."""
        moved = self._moved(place.path)
        if moved.lstat() is not None:
            return
        refuse_mounts(place)
        half = moved.beside(b"half")
        remove(half)
        clone_tree(place, half)
        sync_file_system(half.directory)
        os.rename(half.name, moved.name, src_dir_fd=half.fd, dst_dir_fd=moved.fd)

    def _moved(self, path: bytes) -> Place:
        return self._inside.at(b"/moved/" + short_name(path))


class _Saver:
    """One batch being saved."""

    def __init__(self, files: SavedFiles, root: SafeRoot, out: BinaryIO) -> None:
        self._files = files
        self._root = root
        self._out = out
        self._absent: list[bytes] = []
        self._parents: dict[bytes, None] = {}
        self._in_the_way = b""
        self.count = 0

    def add(self, change: Change) -> None:
        try:
            place = self._root.at(change.path)
            status = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            if makes(change):
                self._add_missing_parents(change.path)
                self._add_absent(change.path)
            return
        if status is None:
            if makes(change):
                self._add_parent(change.path, place.directory)
                self._add_absent(change.path)
            return
        if change.kind in ("s", "a") and not self._makes_room(change, place, status):
            self._write(self._describe(change.path, "stat", place, status))
            return
        self._add_parent(change.path, place.directory)
        self._add_whole(change, place, status)

    def _makes_room(self, change: Change, place: Place, status: os.stat_result) -> bool:
        wants_directory = change.kind == "s" and stat.S_ISDIR(change.mode)
        return wants_directory and not stat.S_ISDIR(status.st_mode) and not self._root.leads_to_directory(change.path)

    def _add_missing_parents(self, path: bytes) -> None:
        """Notes the first parent that is missing, or is in the way, and those below it: all will be made."""
        directory = b""
        missing = False
        for name in components(path)[:-1]:
            directory += b"/" + name
            if missing:
                self._add_absent(directory)
                continue
            if self._root.leads_to_directory(directory):
                continue
            missing = True
            place = self._root.at(directory)
            status = place.lstat()
            self._add_parent(directory, place.directory)
            if status is None:
                self._add_absent(directory)
            elif directory != self._in_the_way:
                self._in_the_way = directory
                self._add_whole(Change("o", directory), place, status)

    def _add_absent(self, directory: bytes) -> None:
        # Each file below the same missing directories names them all again, from the top.
        if directory in self._absent:
            return
        while self._absent and not directory.startswith(self._absent[-1] + b"/"):
            self._absent.pop()
        self._absent.append(directory)
        self._write(Saved(directory, "absent"))

    def _add_parent(self, path: bytes, directory: Directory) -> None:
        parent = parent_of(path)
        if parent in self._parents:
            return
        # Enough to remember those above: a tree's order leaves each directory once.
        self._parents = {above: None for above in self._parents if parent.startswith(above)}
        self._parents[parent] = None
        status = directory.status()
        self._write(Saved(parent, "parent", status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns))

    def _add_whole(self, change: Change, place: Place, status: os.stat_result) -> None:
        if stat.S_ISDIR(status.st_mode):
            if change.kind == "o" and not self._files.is_near(status):
                # One with something mounted in it never makes room, so needs no copy.
                with contextlib.suppress(MountedError):
                    self._files.copy_directory(place)
            saved = self._describe(change.path, "dir", place, status)
            self._write(saved._replace(content=short_name(change.path)))
            return
        saved = self._describe(change.path, type_name(status.st_mode), place, status)
        self._write(saved._replace(content=self._keep(place, status)))

    def _keep(self, place: Place, status: os.stat_result) -> bytes:
        """Keeps what a path holds; returns its name in `content/`."""
        linked = self._files.content(b"%x-%x" % (status.st_dev, status.st_ino))
        if linked.lstat() is not None:
            return linked.name
        try:
            os.link(place.name, linked.name, src_dir_fd=place.fd, dst_dir_fd=linked.fd, follow_symlinks=False)
            return linked.name
        except OSError as error:
            # EXDEV: another file system or mount; EPERM: an immutable file, or no hard links here; EMLINK: too many.
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
        copied = self._files.content(b"%x-%x-%x" % (status.st_dev, status.st_ino, status.st_ctime_ns))
        if copied.lstat() is None:
            half = copied.beside(b"half")
            remove(half)
            clone(place, half, status)
            os.rename(half.name, copied.name, src_dir_fd=half.fd, dst_dir_fd=copied.fd)
        return copied.name

    def _describe(self, path: bytes, kind: str, place: Place, status: os.stat_result) -> Saved:
        return Saved(
            path,
            kind,
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            status.st_dev,
            status.st_ino,
            status.st_ctime_ns,
            status.st_nlink,
            b"",
            tuple(read_attributes(place.proc).items()),
        )

    def _write(self, saved: Saved) -> None:
        write_saved(self._out, saved)
        self.count += 1


def space_needed(changes: Iterable[Change], root: Path, device: int) -> int:
    """Bytes that saving these would take in an area on `device` (st_dev): what lies elsewhere, and the index."""
    needed = 0
    with SafeRoot(root) as safe:
        for change in changes:
            needed += RECORD_SIZE
            try:
                place = safe.at(change.path)
                status = place.lstat()
            except OSError:  # nothing there to be saved; what is amiss with it, saving names
                continue
            if status is None or status.st_dev == device or change.kind in ("s", "a"):
                continue
            if stat.S_ISDIR(status.st_mode):
                needed += _tree_size(place) if change.kind == "o" else 0
            else:
                needed += status.st_blocks * 512
    return needed


def _tree_size(place: Place) -> int:
    inside = place.inside()
    size = 0
    for name in inside.names():
        entry = place.below(inside, name)
        status = entry.lstat()
        if status is not None:
            size += _tree_size(entry) if stat.S_ISDIR(status.st_mode) else status.st_blocks * 512
    return size
