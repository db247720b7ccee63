"""Putting back what a rollback area saved: every step looks at what is there and does only what is missing.

The order of the steps is specified in docs/formats/rollback-files.md.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from .carry import short_name
from .copying import clone, clone_tree, remove, sync_file_system
from .metadata import Metadata, apply_metadata
from .report import ApplyReport
from .safepath import Directory, Place, SafeRoot
from .savedindex import Batch, Saved, SavedIndex

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK)


def everything(path: bytes) -> bool:
    """A filter that takes every path."""
    return True


@dataclass(slots=True)
class PutBackReport(ApplyReport):
    """`removed` paths had not been there; `left` are paths whose then content now lies in the area's `left/`."""

    removed: int = 0
    left: list[bytes] = field(default_factory=list)


class PutBack:
    """One run over an area's index."""

    def __init__(self, index: SavedIndex, area: SafeRoot, root: SafeRoot, takes: Callable[[bytes], bool]) -> None:
        self._index = index
        self._area = area
        self._root = root
        self._takes = takes
        self._report = PutBackReport()
        self._copied: dict[bytes, bytes] = {}
        self._touched: dict[int, Directory] = {}

    def run(self) -> PutBackReport:
        """Raises SpaceError where a file system is full, FormatError for a damaged index."""
        batches = self._index.batches()
        # Where a path is in two batches, the earlier one holds its true state, so it comes last.
        for batch in reversed(batches):
            self._each(batch, self._remove_absent, backwards=True)
            self._each(batch, self._put_back)
            self._each(batch, self._finish_directory, backwards=True)
        for directory in self._touched.values():
            sync_file_system(directory)
        return self._report

    def _each(self, batch: Batch, step: Callable[[Saved], None], *, backwards: bool = False) -> None:
        for saved in self._index.records(batch, backwards=backwards):
            if saved.type == "parent" or self._takes(saved.path):
                try:
                    step(saved)
                except OSError as error:
                    self._report.failed(saved.path, error)
        self._root.forget()

    def _at(self, path: bytes) -> Place:
        place = self._root.at(path)
        self._touched.setdefault(place.directory.status().st_dev, place.directory)
        return place

    def _remove_absent(self, saved: Saved) -> None:
        if saved.type != "absent":
            return
        try:
            place = self._at(saved.path)
        except (FileNotFoundError, NotADirectoryError):
            return
        status = place.lstat()
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            self._clear_temporary(place.inside())
            try:
                os.rmdir(place.name, dir_fd=place.fd)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                self._report.add_problems(saved.path, ["not removed: it holds what the restore did not put there"])
                return
        else:
            os.unlink(place.name, dir_fd=place.fd)
        if not stat.S_ISREG(status.st_mode):
            self._root.forget()
        self._report.removed += 1

    def _put_back(self, saved: Saved) -> None:
        if saved.type in ("absent", "parent"):
            return
        try:
            place = self._at(saved.path)
        except (FileNotFoundError, NotADirectoryError):
            self._report.add_problems(saved.path, ["can't be put back: its directory is gone"])
            return
        if saved.type == "stat":
            self._put_back_stat(saved, place)
        elif saved.type == "dir":
            self._put_back_directory(saved, place)
        else:
            self._put_back_file(saved, place)

    def _put_back_stat(self, saved: Saved, place: Place) -> None:
        status = place.lstat()
        if status is None or stat.S_IFMT(status.st_mode) != stat.S_IFMT(saved.mode):
            self._report.add_problems(saved.path, ["owner and mode can't be put back: it is gone, or of another type"])
            return
        self._finish(saved, place, mtime=False)

    def _put_back_directory(self, saved: Saved, place: Place) -> None:
        status = place.lstat()
        is_directory = status is not None and stat.S_ISDIR(status.st_mode)
        moved = self._area.at(b"/moved/" + saved.content)
        if moved.lstat() is not None and not (is_directory and self._is_copy(saved, status)):
            self._make_room(place, saved, status)
            self._move_back(moved, place)
            self._root.forget()
        elif not is_directory:
            self._make_room(place, saved, status)
            os.mkdir(place.name, 0o700, dir_fd=place.fd)
            self._root.forget()
        self._finish(saved, place, mtime=False)

    def _is_copy(self, saved: Saved, status: os.stat_result | None) -> bool:
        """Whether the directory never moved, so that what lies in the area is a copy made beforehand."""
        return status is not None and (status.st_dev, status.st_ino) == (saved.device, saved.inode)

    def _move_back(self, moved: Place, place: Place) -> None:
        try:
            os.rename(moved.name, place.name, src_dir_fd=moved.fd, dst_dir_fd=place.fd)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        beside = place.beside(self._index.prefix + b"back")
        remove(beside)
        clone_tree(moved, beside)
        sync_file_system(place.directory)
        os.rename(beside.name, place.name, src_dir_fd=beside.fd, dst_dir_fd=place.fd)
        # Taken, so that running again does not do it again; under another name first, as removing takes a while.
        done = moved.beside(moved.name + b".done")
        remove(done)
        os.rename(moved.name, done.name, src_dir_fd=moved.fd, dst_dir_fd=done.fd)
        remove(done)

    def _put_back_file(self, saved: Saved, place: Place) -> None:
        content = self._area.at(b"/content/" + saved.content)
        kept = content.lstat()
        status = place.lstat()
        if kept is None:
            self._report.add_problems(saved.path, ["can't be put back: its content is not in the rollback area"])
            return
        if status is not None and self._is_original(saved, status, kept):
            self._finish(saved, place)
            return
        beside = place.beside(self._index.prefix + b"back")
        remove(beside)
        self._recreate(saved, content, kept, beside)
        self._finish(saved, beside, count=False)
        self._make_room(place, saved, status, only_directory=True)
        os.rename(beside.name, place.name, src_dir_fd=beside.fd, dst_dir_fd=place.fd)
        if not stat.S_ISREG(saved.mode) or status is None or not stat.S_ISREG(status.st_mode):
            self._root.forget()
        if saved.links > 1:
            self._copied.setdefault(saved.content, saved.path)
        self._report.done += 1

    def _is_original(self, saved: Saved, status: os.stat_result, kept: os.stat_result) -> bool:
        """Whether the path still is, or is again, the file that was saved."""
        if (status.st_dev, status.st_ino) == (kept.st_dev, kept.st_ino):
            return True
        # An unchanged ctime tells an inode that nobody touched from one that was freed and used again.
        return (status.st_dev, status.st_ino, status.st_ctime_ns) == (saved.device, saved.inode, saved.ctime)

    def _recreate(self, saved: Saved, content: Place, kept: os.stat_result, beside: Place) -> None:
        first = self._copied.get(saved.content)
        for source in (content, self._root.at(first) if first is not None else None):
            if source is None:
                continue
            try:
                os.link(source.name, beside.name, src_dir_fd=source.fd, dst_dir_fd=beside.fd, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
        clone(content, beside, kept)

    def _make_room(
        self, place: Place, saved: Saved, status: os.stat_result | None, *, only_directory: bool = False
    ) -> None:
        """Removes what a restore put at `place`; a directory that holds anything else moves to `left/`."""
        if status is None or (only_directory and not stat.S_ISDIR(status.st_mode)):
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(place.name, dir_fd=place.fd)
            return
        self._clear_temporary(place.inside())
        try:
            os.rmdir(place.name, dir_fd=place.fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self._move_to_left(place, saved)
        self._root.forget()

    def _move_to_left(self, place: Place, saved: Saved) -> None:
        root = self._area.at(b"/left")
        if root.lstat() is None:
            os.mkdir(root.name, 0o700, dir_fd=root.fd)
        number = 0
        while (left := self._area.at(b"/left/%s-%d" % (short_name(saved.path), number))).lstat() is not None:
            number += 1
        try:
            os.rename(place.name, left.name, src_dir_fd=place.fd, dst_dir_fd=left.fd)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            clone_tree(place, left)
            remove(place)
        self._report.left.append(saved.path)

    def _finish(self, saved: Saved, place: Place, *, mtime: bool = True, count: bool = True) -> None:
        wanted = Metadata(saved.mode, saved.uid, saved.gid, saved.mtime if mtime else None, dict(saved.attributes))
        self._report.add_problems(saved.path, apply_metadata(place, wanted, insist=False))
        self._report.done += count

    def _finish_directory(self, saved: Saved) -> None:
        """The mtimes of directories, once nothing in them changes any more."""
        if saved.type != "parent" and not stat.S_ISDIR(saved.mode):
            return
        try:
            place = self._at(saved.path)
            directory = self._root.directory(saved.path) if saved.type == "parent" else place.inside()
        except (FileNotFoundError, NotADirectoryError):
            return  # reported when it could not be put back
        if saved.type == "parent":
            self._clear_temporary(directory)
        status = directory.status()
        if status.st_mtime_ns != saved.mtime:
            os.utime(b".", ns=(status.st_atime_ns, saved.mtime), dir_fd=directory.fd)

    def _clear_temporary(self, directory: Directory) -> None:
        for name in directory.names():
            if name.startswith(self._index.prefix):
                remove(Place(directory, name, name))
