"""Directories that a run works in and that are gone after it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .api.errors import SpaceError
from .engine.space import ALLOW_MORE
from .engine.workspace import locked_directory, remove_stale, temporary_directory

PREFIX = "tklbam-scratch-"
ELSEWHERE = "Make room there, or name another directory with --restore-cache-dir."


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A private directory below the system's temporary one (`TMPDIR` moves it). What killed runs left there is removed
    first. Raises SpaceError."""
    remove_stale(None, PREFIX)
    with locked_directory(temporary_directory(None), PREFIX) as (path, _):
        yield path


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A private directory `parent`/work for a restore's fetched files, on the disk of the restored system where
    possible, so that they can be renamed into place. What a killed run left there is removed first."""
    place = parent / "work"
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(place)
    place.mkdir(mode=0o700, parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def free_space(place: Path) -> int:
    """Bytes that are free for this user on the file system of `place`."""
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


def require_space(place: Path, needed: int, what: str, limit: int | None = None, remedy: str = ELSEWHERE) -> None:
    """Raises SpaceError when fewer than `needed` bytes are free at `place`, or `limit` allows fewer."""
    free = free_space(place)
    if free < needed:
        raise SpaceError(
            f"{what} needs {needed / 2**20:.1f} MB below {place}, and {free / 2**20:.1f} MB are free",
            remedy,
        )
    if limit is not None and limit < needed:
        raise SpaceError(
            f"{what} needs {needed / 2**20:.1f} MB below {place}, and {limit / 2**20:.1f} MB are allowed",
            ALLOW_MORE,
        )
