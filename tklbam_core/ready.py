"""A target made ready for the next session."""

from __future__ import annotations

from .api.storage import Target
from .context import Context
from .engine.interface import Engine
from .placement import refuse_unmounted, remember_place
from .schedule import Interval, full_is_due


def prove_target(target: Target, context: Context, *, write: bool) -> None:
    """Proves that the target is there, readable and, with `write`, writable, and that its disk is mounted.

    Raises TargetError.
    """
    refuse_unmounted(target, context)
    target.check(write=write)
    if write:
        remember_place(target, context)


def ready_for_session(target: Target, secret: str, every: Interval, engine: Engine, context: Context) -> bool:
    """Proves that the target can be written and clears what interrupted runs left; whether a full session is due.

    `every` is the age at which a chain is followed by a new full session. Raises TargetError, EngineError.
    """
    prove_target(target, context, write=True)
    for line in target.cautions():
        context.warn(line)
    for line in engine.prepare(target, secret):
        context.note(line)
    chains = engine.chains(target)
    return full_is_due(chains[-1].sessions[0].time if chains else None, every)
