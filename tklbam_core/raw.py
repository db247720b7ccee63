"""Sessions of any directory, as it is: no profile, no extras."""

from __future__ import annotations

import os
from pathlib import Path

from .api.errors import UsageError
from .api.storage import Target
from .context import Context
from .copies import verified
from .engine.interface import Engine, Verification, WriteRequest, WriteResult
from .ready import ready_for_session
from .restore_source import Source
from .schedule import Interval
from .scratch import scratch_directory


def upload(
    directory: Path, target: Target, secret: str, every: Interval, context: Context, engine: Engine, volume_size: int
) -> tuple[WriteResult, Verification]:
    """Stores everything below `directory`, as a full session or an increment, and checks that it is all there.

    The caller holds the lock.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", "Name the directory whose content is to be stored.")
    full = ready_for_session(target, secret, every, engine, context)
    with scratch_directory() as scratch:
        listed = scratch / "list"
        with listed.open("wb") as file:
            for name in _below(bytes(directory)):
                file.write(name + b"\0")
        result = engine.write(
            target,
            WriteRequest(
                source=directory,
                extras=None,
                file_list=listed,
                full=full,
                secret=secret,
                volume_size=volume_size,
                progress=context.progress,
            ),
        )
    return result, verified(target, result.session, secret, engine)


def download(source: Source, destination: Path) -> None:
    """Fetches a session as it is into `destination`, which must be new or empty."""
    destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(destination.iterdir()):
        raise UsageError(f"{destination} is not empty", "Name a new or empty directory.")
    source.fetch_all(destination)


def _below(top: bytes) -> list[bytes]:
    names = []
    for directory, folders, files in os.walk(top):
        names += [os.path.relpath(os.path.join(directory, name), top) for name in [*folders, *files]]
    return names
