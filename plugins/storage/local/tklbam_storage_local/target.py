"""A directory as a target."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from tklbam_core.api import EngineAddress, SpaceError, StoredFile, Target, TargetError, sync_directory

STRAY = ".tklbam-"
"""How the names of files begin that are being written or tried out. Those of dead runs are removed by `check`."""
OLD = 24 * 3600
"""Seconds after which such a file belongs to nobody any more."""


class LocalTarget(Target):
    """The files of `path`, a directory that `check` makes (0700) where its parent is there."""

    def __init__(self, address: str, path: Path) -> None:
        self.address = address
        self.path = path

    def engine(self) -> EngineAddress:
        # duplicity decodes the URL's path, so what is special in a URL is written as %XX.
        return EngineAddress(url=f"file://{quote(os.fsencode(self.path))}")

    def check(self, *, write: bool) -> None:
        """Raises TargetError: nothing there (without `write`), not a directory, not readable, not writable."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._make(write)
            return
        except OSError as error:
            raise self._error(error) from error
        if not stat.S_ISDIR(found.st_mode):
            raise TargetError(f"{self.address}: {self.path} is not a directory", "Name a directory.")
        try:
            with os.scandir(self.path) as entries:
                next(entries, None)
            if write:
                self._remove_strays()
                self._try_out()
        except OSError as error:
            raise self._error(error) from error

    def _make(self, write: bool) -> None:
        if not write:
            raise TargetError(f"{self.address}: {self.path} does not exist", "Check the address, or mount its disk.")
        try:
            os.mkdir(self.path, 0o700)
            os.chmod(self.path, 0o700)
            sync_directory(self.path.parent)
        except FileNotFoundError as error:
            # Making parents, too, would fill the root file system when the disk meant is not mounted.
            raise TargetError(
                f"{self.address}: {self.path.parent} does not exist",
                f"Mount the disk it lies on, or make the directory: mkdir -p '{self.path.parent}'",
            ) from error
        except OSError as error:
            raise self._error(error) from error

    def _try_out(self) -> None:
        trial = self.path / f"{STRAY}{secrets.token_hex(6)}"
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        os.unlink(trial)

    def _remove_strays(self) -> None:
        now = datetime.now(UTC).timestamp()
        for entry in os.scandir(self.path):
            if not entry.name.startswith(STRAY) or not entry.is_file(follow_symlinks=False):
                continue
            if now - entry.stat(follow_symlinks=False).st_mtime > OLD:
                os.unlink(entry)

    def files(self) -> Iterator[StoredFile]:
        """Regular files only; none where the directory does not exist."""
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if entry.name.startswith(STRAY) or not entry.is_file():
                        continue
                    found = entry.stat()
                    yield StoredFile(
                        name=entry.name, size=found.st_size, modified=datetime.fromtimestamp(found.st_mtime, UTC)
                    )
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(error) from error

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                os.unlink(self._place(name))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._error(error) from error
        with contextlib.suppress(FileNotFoundError):
            sync_directory(self.path)

    def read(self, name: str) -> BinaryIO:
        try:
            return open(self._place(name), "rb")
        except OSError as error:
            raise self._error(error) from error

    def write(self, name: str, content: BinaryIO) -> None:
        """Also raises SpaceError."""
        place = self._place(name)
        beside = self.path / f"{STRAY}{secrets.token_hex(6)}"
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                    out.flush()
                    os.fsync(descriptor)
                os.replace(beside, place)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside)
                raise
            sync_directory(self.path)
        except OSError as error:
            raise self._error(error) from error

    def free_bytes(self) -> int | None:
        try:
            place = self.path if self.path.exists() else self.path.parent
            state = os.statvfs(place)
        except OSError:
            return None
        return state.f_bavail * state.f_frsize

    def clock(self) -> datetime | None:
        """What the file system says when a file is made: a share's server has a clock of its own."""
        trial = self.path / f"{STRAY}{secrets.token_hex(6)}"
        try:
            descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, b"?")
                os.fsync(descriptor)
                return datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
            finally:
                os.close(descriptor)
                os.unlink(trial)
        except OSError:
            return None  # whoever can't write here has been told by `check`

    def local_path(self) -> Path | None:
        return self.path

    def _place(self, name: str) -> Path:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise TargetError(f"{name!r} is not a name a file on a target can have", "")
        return self.path / name

    def _error(self, error: OSError) -> TargetError | SpaceError:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return SpaceError(
                f"{self.address}: the file system is full ({self.free_bytes()} bytes free)",
                "Free some space there, or choose another target.",
            )
        remedies = {
            errno.EACCES: "Run as root, or let this user read and write the directory.",
            errno.EPERM: "Run as root, or let this user read and write the directory.",
            errno.EROFS: "Mount its file system for writing.",
            errno.ENOENT: "Mount the disk it lies on, or make the directory.",
            errno.ENOTDIR: "Name a directory.",
        }
        place = error.filename if error.filename is not None else self.path
        shown = place if isinstance(place, int) else os.fsdecode(place)
        return TargetError(f"{self.address}: {shown}: {why}", remedies.get(error.errno or 0, "Check the disk."))
