"""The scratch place of one run: duplicity's temporary files, its GnuPG home, lists; nobody else's, gone afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..api.errors import SpaceError
from ..api.process import run

PREFIX = "tklbam-engine-"
_LONGEST = 75
"""Characters of a GnuPG home with which its agent's sockets still fit into a socket address (108 bytes)."""
_MAKING = 600
"""Seconds after which a workspace without a lock is nobody's."""
SHORT = Path("/tmp")
"""Where the GnuPG home goes when the temporary directory's own path is too long for that."""


class Workspace:
    """A directory under the temporary directory, 0700. `lock` is held by every process that works in it."""

    def __init__(self, path: Path, lock: int, gnupg: Path) -> None:
        self.path = path
        self.lock = lock
        self.gnupg = gnupg
        self.scratch = path / "tmp"
        self.scratch.mkdir(mode=0o700)

    @property
    def writable(self) -> list[Path]:
        """All that a program working in it must be able to write to."""
        return [self.path] if self.gnupg.is_relative_to(self.path) else [self.path, self.gnupg]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which duplicity and gpg find everything here, and say everything in English."""
        return {
            "TMPDIR": str(self.scratch),
            "GNUPGHOME": str(self.gnupg),
            "HOME": str(self.path),
            "LC_ALL": "C.UTF-8",
            "LANGUAGE": "",
        }


def temporary_directory(temp: Path | None) -> Path:
    return temp if temp is not None else Path(tempfile.gettempdir())


@contextlib.contextmanager
def workspace(temp: Path | None) -> Iterator[Workspace]:
    """Makes the scratch place and removes it. Raises SpaceError where the file system is full."""
    with locked_directory(temporary_directory(temp)) as (path, lock), contextlib.ExitStack() as more:
        gnupg = path / "gnupg"
        if len(str(gnupg)) > _LONGEST:
            gnupg, _ = more.enter_context(locked_directory(SHORT))
        else:
            gnupg.mkdir(mode=0o700)
        place = Workspace(path, lock, gnupg)
        try:
            yield place
        finally:
            _end_agent(place)


@contextlib.contextmanager
def locked_directory(parent: Path, prefix: str = PREFIX) -> Iterator[tuple[Path, int]]:
    """A private directory below `parent`, and its lock; where this process is killed, `remove_stale` removes it later.
    Raises SpaceError."""
    try:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        raise SpaceError(
            f"no temporary file can be made in {parent}: {error.strerror}",
            "Free some space there, or set TMPDIR to another file system.",
        ) from error
    lock = -1
    try:
        # Under its name the lock is always held, so nobody takes a workspace that is being made for a stale one.
        lock = os.open(path / "lock.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(path / "lock.new", path / "lock")
        yield path, lock
    finally:
        if lock >= 0:
            os.close(lock)
        _remove(path)


def _remove(path: Path) -> None:
    """Removes a workspace, its lock last: without it nobody could tell that it is stale."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != "lock":
                os.unlink(entry)
    shutil.rmtree(path, ignore_errors=True)


def remove_stale(temp: Path | None, prefix: str = PREFIX) -> list[str]:
    """Removes what killed runs left under the temporary directory; says what. Those in use are left alone."""
    said = []
    places = {temporary_directory(temp), SHORT}
    for path in sorted(path for place in places for path in place.glob(prefix + "*")):
        try:
            status = path.lstat()
        except OSError:
            continue  # its run has just ended
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            continue
        try:
            lock = os.open(path / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            with contextlib.suppress(OSError):
                if time.time() - status.st_mtime > _MAKING:
                    _remove(path)  # whoever made it died before there was a lock, or when it was all but gone
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
        _remove(path)
        said.append(f"removed the temporary files of an interrupted run, {path}")
    return said


def _end_agent(place: Workspace) -> None:
    # gpg starts an agent for every home it sees; it would go by itself, but minutes later.
    if any(place.gnupg.iterdir()) and shutil.which("gpgconf"):
        run(["gpgconf", "--kill", "gpg-agent"], env=place.environment, check=False)
