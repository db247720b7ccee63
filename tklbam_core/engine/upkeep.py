"""Keeping a target in order: what interrupted runs left goes, and chains that are old enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..api.errors import UsageError
from ..api.storage import Target
from .cache import Cache
from .interface import Session
from .survey import Survey, read_manifests, survey
from .workspace import remove_stale, workspace


def prepare(target: Target, secret: str, cache: Cache, temp: Path | None) -> list[str]:
    """Removes what interrupted runs left on the target, in the cache and in the temporary directory; says what.

    Raises LockedError while another run is at work on the same target.
    """
    said = remove_stale(temp)
    cache.create()
    cache.check_unused()
    found = survey(target.files(), cache)
    with workspace(temp) as place:
        said += read_manifests(target, found, cache, secret, place)
    said += clean(target, found, cache)
    for key, reasons in found.damaged.items():
        said.append(f"the {key.kind} session of {key.end:%Y-%m-%d %H:%M:%S} UTC is damaged: {'; '.join(reasons)}")
    return said


def clean(target: Target, found: Survey, cache: Cache) -> list[str]:
    """Removes the leftovers from the target, where it lets anything be removed, and from the cache."""
    said = []
    if target.keeps_everything:
        if found.leftovers:
            left = [file for each in found.leftovers for file in each.files]
            said.append(
                f"{target.address} keeps everything: {len(left)} files ({sum(file.size for file in left)} bytes) of "
                "interrupted sessions stay there"
            )
        finished = {key: each for key, each in found.sets.items() if each not in found.leftovers}
        removed = cache.keep_only(finished.values())
    else:
        for each in found.leftovers:
            # The manifest goes first: without it nobody takes the rest for a session, however this ends.
            target.delete([file.name for file in reversed(each.files)])
            said.append(
                f"removed an interrupted {each.key.kind} session of {each.key.end:%Y-%m-%d %H:%M:%S} UTC: "
                f"{len(each.files)} files, {sum(file.size for file in each.files)} bytes"
            )
            del found.sets[each.key]
        found.leftovers = []
        removed = cache.keep_only(found.sets.values())
    if removed:
        said.append(f"removed from the local cache what the target does not have: {len(removed)} files")
    return said


def prune(target: Target, keep_full: int, cache: Cache) -> Sequence[Session]:
    """Deletes whole chains, oldest first, until `keep_full` (1 or more) are left; none where the target keeps them."""
    if keep_full < 1:
        raise UsageError(f"keep-full {keep_full} would delete every backup", "Keep 1 or more.")
    if target.keeps_everything:
        return []
    cache.create()
    cache.check_unused()
    found = survey(target.files(), cache)
    gone = [each for chain in found.chains[:-keep_full] for each in chain]
    for each in gone:
        target.delete([file.name for file in reversed(each.files)])
        del found.sets[each.key]
    if gone:
        cache.keep_only(found.sets.values())
        kept = {file.name for each in found.sets.values() for file in each.files}
        cache.note_sizes({name: size for name, size in cache.sizes().items() if name in kept})
    return [each.session() for each in gone]
