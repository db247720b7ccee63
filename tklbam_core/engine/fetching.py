"""Restoring from a target: the session wanted and what it builds on, checked first, behind walls."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from ..api.errors import EngineError, UsageError
from ..api.storage import Target
from . import failures
from .archive import FileSet, link
from .cache import Cache
from .decrypt import Unreadable, read_file
from .interface import FetchRequest
from .manifest import parse_manifest
from .program import CommandLine, Program, launcher
from .runner import DownloadProgress, Job, run_duplicity
from .survey import Survey, survey
from .workspace import Workspace, workspace


def fetch(target: Target, request: FetchRequest, cache: Cache, temp: Path | None, program: Program) -> None:
    """Restores into `destination`, which is made (0700) where it does not exist and must be empty.

    The root of what is fetched gives `destination` its mode and owner. Owners stay the numbers they were; only
    root restores them. Raises ArchiveError, UnsafePathError, SpaceError, TargetError, EngineError; whatever was
    restored before it went wrong stays in `destination`.
    """
    found = survey(target.files(), cache)
    sets = [*found.complete, *found.undecided]
    chain = choose(target, found, request.time)
    key = chain[-1].key
    destination = request.destination
    destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    if next(destination.iterdir(), None) is not None:
        raise UsageError(f"{destination} is not empty", "Choose an empty directory to restore to.")
    largest = max(file.size for each in chain for file in each.volumes.values())
    volume_size = max(1, -(-largest // (1 << 20)))
    with workspace(temp) as place:
        archive = Cache(place.path / "archive", target.address)
        archive.create()
        archive.fill_for_restore(sets, [each for each in found.sets.values() if each not in sets], cache)
        for each in chain:
            _have_manifest(target, each, archive, request.secret, place)

        def build(line: CommandLine) -> list[str]:
            restore = line.restore(
                time=int(key.end.timestamp()), path=request.path, destination=destination, own=os.geteuid() == 0
            )
            writable = [destination, *place.writable]
            return launcher([word for path in writable for word in ("--writable", str(path))], restore)

        job = Job(
            program=program,
            target=target,
            workspace=place,
            archive_dir=archive.root,
            name=archive.name,
            secret=request.secret,
            volume_size=volume_size,
            destination=destination,
        )
        account, failure = run_duplicity(job, build, DownloadProgress(request.progress).take)
    if failure is not None:
        raise failures.reading(failure)
    if account.unread:
        count = len(account.unread) + account.more_unread
        raise failures.partly(target, destination, account.unread, count)


def choose(target: Target, found: Survey, when: datetime | None) -> list[FileSet]:
    """The chain up to the session that holds the state wanted."""
    candidates = [*(each.key for each in (*found.complete, *found.undecided)), *found.damaged]
    if not candidates:
        raise EngineError(f"there is no complete session at {target.address}", "Check the address.")
    wanted = [key for key in candidates if when is None or key.end <= when]
    if not wanted:
        known = ", ".join(f"{key.end:%Y-%m-%dT%H:%M:%SZ}" for key in sorted(candidates, key=lambda key: key.end))
        raise EngineError(f"no session at {target.address} is that old", f"There are: {known}.")
    key = max(wanted, key=lambda key: key.end)
    if key in found.damaged:
        raise failures.damaged(target, key, found.damaged[key])
    for chain in link([*found.complete, *found.undecided]):
        keys = [each.key for each in chain]
        if key in keys:
            return chain[: keys.index(key) + 1]
    raise failures.damaged(target, key, ["a session it builds on is missing or damaged"])


def _have_manifest(target: Target, found: FileSet, cache: Cache, secret: str, place: Workspace) -> None:
    """Sees to it that the cache has a session's manifest, and that the target has all that it names."""
    assert found.manifest is not None
    manifest = cache.manifest(found.key)
    if manifest is None:
        with target.read(found.manifest.name) as content:
            text = read_file(found.manifest.name, content, secret, place)
        manifest = parse_manifest(text) if isinstance(text, bytes) else None
        if manifest is None or not isinstance(text, bytes):
            why = text if isinstance(text, Unreadable) else Unreadable.DAMAGED
            raise failures.unreadable(target, found.manifest.name, why)
        cache.put_manifest(found.manifest, text)
    problems = found.problems(manifest.count)
    if problems:
        raise failures.damaged(target, found.key, problems)
