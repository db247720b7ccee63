"""What restores downloaded, kept as it is on the target (encrypted), so that nothing is downloaded twice.

    DIR/KEY/NAME              a whole file; KEY stands for the address; used last when it was modified last
    DIR/KEY/.part-SIZE-NAME   one on its way, locked by the run that fetches it; a killed run's is gone on with
    DIR/.run-XXXX/            the files of one restore, as hard links: what is evicted meanwhile stays in them

Nothing in it is trusted: sizes and the manifest's hashes are compared before a file is used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..api.errors import ArchiveError, UsageError
from ..api.storage import Target
from .download import Wanted, download, is_proven
from .space import free_bytes

KEPT = "files"
"""Its directory, in the one that the administrator names."""
PART, RUN = ".part-", ".run-"
ROOM = 3
"""Times its size that a download needs free: itself, and what is unpacked from it, usually on the same disk."""


class CacheFullError(Exception):
    """There is no room for a file, even with everything else evicted."""


class RestoreCache:
    """The cache in `directory` (made, 0700). `limit` says how many bytes it may take where so many bytes are free,
    those that it takes already included."""

    def __init__(self, directory: Path, limit: Callable[[int], int]) -> None:
        self.directory = directory
        self._limit = limit

    @contextlib.contextmanager
    def stage(self, target: Target) -> Iterator[Stage]:
        """A directory for the files of one restore. Raises UsageError where the cache is somebody else's, OSError."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(self.directory)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise UsageError(
                f"the restore cache {self.directory} is not a directory that this user alone can write to",
                "Remove it, or name another directory with --restore-cache-dir.",
            )
        with self._locked():
            self._remove_stale()
            place = Path(tempfile.mkdtemp(prefix=RUN, dir=self.directory))
            held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(held, fcntl.LOCK_SH)
        try:
            key = hashlib.sha256(target.address.rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()[:32]
            shelf = self.directory / key
            shelf.mkdir(mode=0o700, exist_ok=True)
            yield Stage(self, target, shelf, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
            os.close(held)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _remove_stale(self) -> None:
        for place in self.directory.glob(RUN + "*"):
            held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            os.close(held)

    def _kept(self) -> list[tuple[float, int, Path]]:
        """(time of use, size, path) of every file, the one used longest ago first."""
        found = []
        for shelf in self.directory.iterdir():
            if shelf.name.startswith(".") or not shelf.is_dir():
                continue
            for entry in os.scandir(shelf):
                with contextlib.suppress(FileNotFoundError):  # evicted by another run just now
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
        return sorted(found)

    def make_room(self, needed: int, keep: Iterable[Path]) -> bool:
        """Evicts what was used longest ago until `needed` bytes more are within the limit, and free together with what
        a restore makes of them; whether they are. What is in `keep` stays."""
        kept = self._kept()
        used = sum(size for _, size, _ in kept)
        free = free_bytes(self.directory)
        allowed = self._limit(free + used)
        staying = set(keep)
        most = sum(size for _, size, path in kept if path not in staying)
        if used - most + needed > allowed or needed * ROOM > free + most:
            return False
        for _, size, path in kept:
            if used + needed <= allowed and needed * ROOM <= free:
                break
            if path not in staying and _evict(path):
                used, free = used - size, free + size
        return used + needed <= allowed and needed * ROOM <= free

    def clear(self) -> None:
        """Evicts everything."""
        for _, _, path in self._kept():
            _evict(path)


class Stage:
    """The files of one restore. `path` is a directory that holds them by their names on the target."""

    def __init__(self, cache: RestoreCache, target: Target, shelf: Path, path: Path) -> None:
        self._cache = cache
        self._target = target
        self._shelf = shelf
        self.path = path

    def reserve(self, wanted: Iterable[Wanted]) -> bool:
        """Makes room for all of these that are not here yet; False where there is not enough."""
        missing = 0
        here: list[Path] = []
        for each in wanted:
            place, part = self._shelf / each.file.name, self._part(each)
            here += [place, part]
            if _size(place) != each.file.size:
                missing += max(0, each.file.size - (_size(part) or 0))
        return not missing or self._cache.make_room(missing, here)

    def stand_in(self, names: Iterable[str]) -> None:
        """An empty file for each of these that is not here: they are needed by name only."""
        for name in names:
            (self.path / name).touch(0o600)

    def bring(self, wanted: Wanted, on_bytes: Callable[[int], None]) -> Path:
        """Has a file in the stage, from the cache where it is, else from the target; `on_bytes` is told what was
        downloaded.

        What does not match its hash is fetched once more. Raises ArchiveError where that helps nothing, TargetError,
        CacheFullError.
        """
        place = self.path / wanted.file.name
        if place.exists() or self._take_kept(wanted, place):
            return place
        try:
            self._download(wanted, place, on_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CacheFullError from error
            raise
        return place

    def drop(self, wanted: Wanted) -> None:
        """Forgets a file that turned out to be of no use."""
        for place in (self.path / wanted.file.name, self._shelf / wanted.file.name):
            place.unlink(missing_ok=True)

    def _part(self, wanted: Wanted) -> Path:
        return self._shelf / f"{PART}{wanted.file.size}-{wanted.file.name}"

    def _take_kept(self, wanted: Wanted, place: Path) -> bool:
        kept = self._shelf / wanted.file.name
        try:
            os.link(kept, place, follow_symlinks=False)
        except FileNotFoundError:
            return False
        # Judged by its name in the stage, where nobody evicts or replaces it.
        if _is_sound(place, wanted):
            os.utime(place)
            return True
        self.drop(wanted)
        return False

    def _download(self, wanted: Wanted, place: Path, on_bytes: Callable[[int], None]) -> None:
        part = self._part(wanted)
        with _locked_part(part) as descriptor:
            if self._take_kept(wanted, place):  # fetched by another run, for which this one waited
                part.unlink(missing_ok=True)
                return
            try:
                download(self._target, wanted, descriptor, on_bytes)
            except ArchiveError:
                part.unlink()
                raise
            os.link(part, place)
            os.rename(part, self._shelf / wanted.file.name)


@contextlib.contextmanager
def _locked_part(part: Path) -> Iterator[int]:
    """The part's descriptor, once no other run is at work on it."""
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(part)):
                break
        os.close(descriptor)  # the other run has finished it
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_sound(place: Path, wanted: Wanted) -> bool:
    if _size(place) != wanted.file.size:
        return False
    with open(place, "rb") as file:
        return is_proven(file.fileno(), wanted)


def _size(place: Path) -> int | None:
    """Bytes of a regular file; None for anything else."""
    try:
        found = os.lstat(place)
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _evict(path: Path) -> bool:
    """Whether the file is gone; a part that another run is at work on stays."""
    if path.name.startswith(PART):
        with contextlib.suppress(FileNotFoundError):
            held = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                return False
            finally:
                os.close(held)
        return True
    path.unlink(missing_ok=True)
    return True
