"""The overlay, put in place: each path beside its target under a short random name, complete, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..api.progress import Progress, ProgressEvent, silent
from .carry import CarryReader, OddFile
from .coherent import USER_DATABASES, coherent
from .copying import clone, make_node, refuse_mounts, remove, sync_file_system, write_new
from .metadata import IdMaps, Metadata, apply_metadata
from .model import Change
from .putback import everything
from .report import ApplyReport
from .safepath import Directory, Place, SafeRoot, components, show
from .saved import Room, SavedFiles

BATCH = 256
"""Files copied before one sync and their renames."""

BATCH_BYTES = 256 << 20

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A fetched overlay: the tree `staging`, what the extras `carry`, and whether `staging` may be used up.

    A staging tree of one's own is used up: its files are renamed into place where the file system allows.
    """

    staging: Path
    carry: CarryReader | None = None
    owned: bool = True


def place_overlay(
    overlay: Overlay,
    root: Path,
    delta: Iterable[Change],
    *,
    maps: IdMaps | None = None,
    takes: Callable[[bytes], bool] = everything,
    saved: SavedFiles | None = None,
    progress: Progress = silent,
) -> ApplyReport:
    """Puts the `o` paths of `delta` that `takes` wants in place below `root`.

    Owners are the delta's, mapped; modes and times the staged files'; attributes, hard links and holes what the extras
    carry. Missing parents are made like the staged ones. What is of another type makes room: into `saved`, which must
    have saved these paths, or where there is none it is removed. The user databases are left alone.

    A path that fails is a problem in the report, and as it was. Raises SpaceError where a file system is full,
    UnsafePathError where a path leads out of the root; what was placed by then is in place, and `saved` undoes it.
    """
    with SafeRoot(root) as target, SafeRoot(overlay.staging) as staging:
        return _Placing(overlay, staging, target, maps or IdMaps(), saved, progress).run(delta, takes)


class _Placing:
    """One run. Files that had to be copied wait under temporary names until their batch is synced."""

    def __init__(
        self,
        overlay: Overlay,
        staging: SafeRoot,
        root: SafeRoot,
        maps: IdMaps,
        saved: SavedFiles | None,
        progress: Progress,
    ) -> None:
        self._overlay = overlay
        self._carry = overlay.carry
        self._staging = staging
        self._root = root
        self._maps = maps
        self._saved = saved
        self._progress = progress
        self._prefix = saved.prefix if saved is not None else b"." + secrets.token_hex(4).encode("ascii") + b"-"
        self._report = ApplyReport()
        self._waiting: list[tuple[Place, Place]] = []
        self._waiting_bytes = 0
        self._number = 0
        self._told = time.monotonic()
        self._touched: dict[int, Directory] = {}
        self._first_names = set(self._carry.first_names.values()) if self._carry else set()
        self._placed_names: dict[bytes, bytes] = {}

    def run(self, delta: Iterable[Change], takes: Callable[[bytes], bool]) -> ApplyReport:
        # What is renamed out of the staging tree must be on the disk before its new name is.
        sync_file_system(self._staging.directory(b"/"))
        try:
            for change in coherent(delta):
                if change.kind != "o" or not takes(change.path):
                    continue
                try:
                    self._place(change)
                except OSError as error:
                    self._report.failed(change.path, error)
                self._tell(change.path)
            self._flush()
        finally:
            for temporary, _ in self._waiting:
                remove(temporary)
        for directory in self._touched.values():
            sync_file_system(directory)
        return self._report

    def _tell(self, path: bytes) -> None:
        now = time.monotonic()
        if now - self._told >= 0.25:
            self._told = now
            self._progress(ProgressEvent("files", self._report.done, unit="files", item=show(path)))

    # --- one path ----------------------------------------------------------------------------------------------------

    def _place(self, change: Change) -> None:
        path = change.path
        odd = self._carry.odd.get(path) if self._carry else None
        source = None if odd else self._staged(path)
        status = source.lstat() if source is not None else None
        if odd is None and (source is None or status is None):
            self._report.add_problems(path, ["not in the archive"])
            return
        if status is not None and (stat.S_ISDIR(status.st_mode) or stat.S_ISSOCK(status.st_mode)):
            self._report.add_problems(path, ["the archive has a directory or a socket for it"])
            return
        place = self._open(path)
        if self._is_user_database(place):
            self._report.skipped += 1
            return
        if self._link(path, place):
            return
        wanted = self._metadata(change, odd, status)
        if odd is not None:
            temporary = self._temporary(place)
            self._make_odd(odd, temporary, dig=self._is_sparse(path))
            self._wait(temporary, place, wanted, os.lstat(temporary.name, dir_fd=temporary.fd).st_size)
            return
        assert source is not None
        assert status is not None
        if self._overlay.owned and not self._is_sparse(path) and self._rename(source, place, wanted):
            return
        temporary = self._temporary(place)
        clone(source, temporary, status, dig=self._is_sparse(path))
        self._wait(temporary, place, wanted, status.st_size)

    def _staged(self, path: bytes) -> Place | None:
        try:
            return self._staging.at(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _metadata(self, change: Change, odd: OddFile | None, status: os.stat_result | None) -> Metadata:
        if odd is not None:
            mode, mtime = odd.mode, odd.mtime
        else:
            assert status is not None
            mode, mtime = status.st_mode, status.st_mtime_ns
        carried = self._carry.attributes.get(change.path, {}) if self._carry else {}
        return Metadata(
            mode, self._maps.uid(change.uid), self._maps.gid(change.gid), mtime, self._maps.attributes(carried)
        )

    def _is_sparse(self, path: bytes) -> bool:
        return self._carry is not None and path in self._carry.sparse

    def _is_user_database(self, place: Place) -> bool:
        """Also under another name: through a link to /etc."""
        if b"/etc/" + place.name not in USER_DATABASES:
            return False
        try:
            return os.path.samestat(place.directory.status(), self._root.directory(b"/etc").status())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _rename(self, source: Place, place: Place, wanted: Metadata) -> bool:
        if place.directory.status().st_dev != source.directory.status().st_dev:
            return False
        self._finish(source, wanted, place.path)
        try:
            self._move(source, place)
        except OSError as error:
            # Two mounts of one file system.
            if error.errno != errno.EXDEV:
                raise
            return False
        return True

    def _make_odd(self, odd: OddFile, temporary: Place, *, dig: bool) -> None:
        if odd.content is not None:
            reader = os.open(odd.content, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                write_new(reader, temporary, dig=dig)
            finally:
                os.close(reader)
        elif odd.target is not None:
            os.symlink(odd.target, temporary.name, dir_fd=temporary.fd)
        else:
            make_node(temporary, odd.mode, odd.device)

    def _link(self, path: bytes, place: Place) -> bool:
        """Makes a hard link of the path that carries the same file, if one has been placed."""
        if self._carry is None or path not in self._carry.first_names:
            return False
        self._flush()
        placed = self._placed_names.get(self._carry.first_names[path])
        if placed is None:
            return False
        origin = self._root.at(placed)
        status, current = os.lstat(origin.name, dir_fd=origin.fd), place.lstat()
        if current is not None and os.path.samestat(status, current):
            self._report.done += 1
            return True
        temporary = self._temporary(place)
        try:
            os.link(origin.name, temporary.name, src_dir_fd=origin.fd, dst_dir_fd=temporary.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        self._waiting.append((temporary, place))
        return True

    # --- temporary names, batches, renames ---------------------------------------------------------------------------

    def _temporary(self, place: Place) -> Place:
        self._number += 1
        temporary = place.beside(self._prefix + b"%x" % self._number)
        self._touched.setdefault(place.directory.status().st_dev, place.directory)
        return temporary

    def _finish(self, place: Place, wanted: Metadata, path: bytes) -> None:
        self._report.add_problems(path, apply_metadata(place, wanted, insist=False))

    def _wait(self, temporary: Place, place: Place, wanted: Metadata, size: int) -> None:
        self._waiting.append((temporary, place))
        self._waiting_bytes += size
        try:
            self._finish(temporary, wanted, place.path)
        except OSError:
            self._waiting.pop()
            remove(temporary)
            raise
        if len(self._waiting) >= BATCH or self._waiting_bytes >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Renames what waits, after one sync of each file system it is on."""
        synced = set()
        for temporary, _ in self._waiting:
            device = temporary.directory.status().st_dev
            if device not in synced:
                synced.add(device)
                sync_file_system(temporary.directory)
        while self._waiting:
            temporary, place = self._waiting[0]
            try:
                self._move(temporary, place)
            except OSError as error:
                remove(temporary)
                self._report.failed(place.path, error)
            del self._waiting[0]
        self._waiting_bytes = 0

    def _move(self, source: Place, place: Place) -> None:
        """Renames what is complete into place. What is there makes room if it must, and is back if this fails."""
        self._touched.setdefault(place.directory.status().st_dev, place.directory)
        status = place.lstat()
        room = self._displace(place) if status is not None and stat.S_ISDIR(status.st_mode) else None
        try:
            os.rename(source.name, place.name, src_dir_fd=source.fd, dst_dir_fd=place.fd)
        except OSError:
            if room is not None:
                os.rename(room.place.name, place.name, src_dir_fd=room.place.fd, dst_dir_fd=place.fd)
            raise
        if room is not None:
            self._report.displaced.append(place.path)
            if not room.kept:
                remove(room.place)
        if status is not None and not stat.S_ISREG(status.st_mode):
            self._root.forget()
        self._report.done += 1
        if self._carry is not None:
            first = self._carry.first_names.get(place.path, place.path)
            if first in self._first_names:
                self._placed_names.setdefault(first, place.path)

    def _displace(self, place: Place) -> Room:
        if self._saved is not None:
            return self._saved.displace(place)
        refuse_mounts(place)
        aside = self._temporary(place)
        os.rename(place.name, aside.name, src_dir_fd=place.fd, dst_dir_fd=aside.fd)
        return Room(aside, kept=False)

    # --- parents -----------------------------------------------------------------------------------------------------

    def _open(self, path: bytes) -> Place:
        try:
            return self._root.at(path)
        except (FileNotFoundError, NotADirectoryError):
            directory = b""
            for name in components(path)[:-1]:
                directory += b"/" + name
                if not self._root.leads_to_directory(directory):
                    self._make_directory(directory)
            return self._root.at(path)

    def _make_directory(self, path: bytes) -> None:
        place = self._root.at(path)
        temporary = self._temporary(place)
        os.mkdir(temporary.name, 0o700, dir_fd=temporary.fd)
        try:
            self._finish(temporary, self._directory_metadata(path), path)
            if place.lstat() is not None:
                # A file or a link to nowhere is in the way. It is among what was saved.
                os.unlink(place.name, dir_fd=place.fd)
                self._report.displaced.append(path)
            os.rename(temporary.name, place.name, src_dir_fd=temporary.fd, dst_dir_fd=place.fd)
        except OSError:
            remove(temporary)
            raise
        self._root.forget()

    def _directory_metadata(self, path: bytes) -> Metadata:
        """A missing parent's: as in the staging tree, else as the extras have it, else root's and open to all."""
        mode, uid, gid = stat.S_IFDIR | 0o755, 0, 0
        source = self._staged(path)
        status = source.lstat() if source is not None else None
        odd = self._carry.odd.get(path) if self._carry else None
        if status is not None and stat.S_ISDIR(status.st_mode):
            mode, uid, gid = status.st_mode, status.st_uid, status.st_gid
        elif odd is not None and stat.S_ISDIR(odd.mode):
            mode, uid, gid = odd.mode, odd.uid, odd.gid
        carried = self._carry.attributes.get(path, {}) if self._carry else {}
        return Metadata(mode, self._maps.uid(uid), self._maps.gid(gid), None, self._maps.attributes(carried))
