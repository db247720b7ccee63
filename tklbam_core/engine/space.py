"""Room on file systems, before and after it ran out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..api.errors import SpaceError
from ..api.storage import Target
from .interface import WriteRequest

LEAST_ROOM = 1 << 20
"""Bytes that must be free on a target before anything is sent to it."""
ALLOW_MORE = "Allow more with --restore-cache-size, or name another directory with --restore-cache-dir."


class OverLimitError(SpaceError):
    """There is more to be restored than was allowed, whatever is free."""


def free_bytes(path: Path) -> int:
    """Bytes an ordinary write can still use on the file system of `path` (0 where that can't be told)."""
    try:
        state = os.statvfs(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and path != path.parent:
            return free_bytes(path.parent)
        return 0
    return state.f_bavail * state.f_frsize


def no_room(place: object, free: int | None) -> SpaceError:
    """A file system of which no byte, or not enough, is left; `free` is None where that can't be known."""
    left = "" if free is None else f" ({free} bytes free)"
    return SpaceError(
        f"the file system of {place} is full{left}",
        "Free some space there; what was stored before is intact, and the next run cleans up after this one.",
    )


def over_limit(place: Path, needs: str, allowed: int) -> OverLimitError:
    """What is asked for `needs` more bytes below `place` than are `allowed` there."""
    return OverLimitError(
        f"fetching what is asked for below {place} {needs}, and {allowed / 2**20:.1f} MB are allowed", ALLOW_MORE
    )


def fullest(*places: Path) -> Path:
    """The one with the least room, where it is not known which of them ran out of it."""
    return min(places, key=free_bytes)


def uploads_at_once(target: Target, request: WriteRequest) -> int:
    """How many files go up at a time: two where the target bears it, so that signatures need not wait for a volume."""
    return min(max(2, request.uploads), target.parallel_writes)


def check_room(target: Target, request: WriteRequest, full: bool, temp: Path) -> None:
    """Raises SpaceError where a session is sure not to fit: better before the first volume than after the last."""
    # One is being made, others are on their way, and a third of one is for signatures; duplicity wants one more yet.
    by_duplicity = 1 + request.uploads if request.uploads > 1 and target.local_path() is None else 1
    needed = int((1.3 + max(uploads_at_once(target, request), by_duplicity)) * (request.volume_size << 20))
    free = free_bytes(temp)
    if free < needed:
        raise SpaceError(
            f"the temporary directory {temp} has {free} bytes free, and {needed} are needed",
            "Free some space there, set TMPDIR to another file system, or choose a smaller volsize.",
        )
    room = target.free_bytes()
    # Nothing compresses better than to a fiftieth on average, so with less room a full session can't fit.
    least = max(LEAST_ROOM, (request.total_bytes or 0) // 50 if full else 0)
    if room is not None and room < least:
        raise SpaceError(
            f"{target.address} has {room} bytes free, and at least {least} are needed",
            "Free some space there, for instance with `keep-full`, or choose another target.",
        )
