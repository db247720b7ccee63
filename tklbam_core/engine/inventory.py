"""Everything that lies on a target, told apart: what can be restored, what is damaged, what belongs to nothing."""

from __future__ import annotations

from ..api.storage import Target
from .archive import as_chain
from .cache import Cache
from .interface import DamagedSession, Inventory
from .survey import survey


def take_inventory(target: Target, cache: Cache) -> Inventory:
    """From names, sizes and the cache alone."""
    files = list(target.files())
    found = survey(files, cache)
    damaged = [
        DamagedSession(session=found.sets[key].session(), reasons=tuple(reasons))
        for key, reasons in found.damaged.items()
    ]
    damaged += [
        DamagedSession(session=each.session(), reasons=("it may not have ended; the next backup finds out",))
        for each in found.undecided
    ]
    judged = {each.key for each in (*found.complete, *found.undecided, *found.leftovers)} | set(found.damaged)
    unlinked = [each for key, each in found.sets.items() if key not in judged]
    damaged += [
        DamagedSession(session=each.session(), reasons=("a session it builds on is missing or damaged",))
        for each in unlinked
    ]
    kept = [*found.complete, *found.undecided, *unlinked, *(found.sets[key] for key in found.damaged)]
    known = {file.name for each in kept for file in each.files}
    return Inventory(
        chains=tuple(as_chain(chain) for chain in found.chains),
        damaged=tuple(sorted(damaged, key=lambda each: each.session.time)),
        orphans=tuple(sorted((file for file in files if file.name not in known), key=lambda file: file.name)),
    )
