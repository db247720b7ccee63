"""A target looked over: reachable, readable, writable, its clock, its sessions against their manifests, its sizes.

Whatever is wrong is a line; nothing on the target is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

from .api.errors import TklbamError
from .api.models import StoredFile
from .api.progress import ProgressEvent
from .api.storage import Target
from .context import Context
from .copies import own_failure
from .engine.interface import Engine, Inventory, Session
from .engine.wrapped import WrappedTarget
from .ready import prove_target
from .target_records import CheckNote

SKEW = 60
"""Seconds that a target's clock may be off."""
MOST_PROBLEMS = 100


@dataclass(slots=True, kw_only=True)
class CheckReport:
    """What was found. With `failed` the target is of no use now, and nothing else is known. `problems` are what is
    wrong with it, `warnings` what a person should know; sizes are bytes."""

    address: str
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    failed: TklbamError | None = None
    writable: bool = True
    inventory: Inventory | None = None
    free: int | None = None
    clock_skew: int | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.failed is None and not self.problems

    def note(self) -> CheckNote:
        """What the registry keeps of it."""
        failure = [self.failed.what] if self.failed is not None else []
        stored = self.inventory
        return CheckNote(
            time=self.time,
            ok=self.ok,
            chains=len(stored.chains) if stored else 0,
            sessions=len(stored.sessions) if stored else 0,
            size=stored.chains_size if stored else 0,
            orphans=len(stored.orphans) if stored else 0,
            orphan_size=stored.orphans_size if stored else 0,
            free=self.free,
            clock_skew=self.clock_skew,
            problems=tuple((failure + self.problems)[:MOST_PROBLEMS]),
        )


def check_target(target: Target, secret: str, engine: Engine, context: Context) -> CheckReport:
    """Looks a target over. The caller holds the lock of this root, so that no session is being written meanwhile."""
    report = CheckReport(address=target.address)
    try:
        with own_failure(target.address):
            _prove(target, context, report)
            _look(target, secret, engine, context, report)
    except TklbamError as error:
        report.failed = error
    return report


def _prove(target: Target, context: Context, report: CheckReport) -> None:
    # Reading first: a target that is not there yet is not to be made by looking.
    prove_target(target, context, write=False)
    try:
        with own_failure(target.address):
            prove_target(target, context, write=True)
    except TklbamError as error:
        report.writable = False
        report.problems.append(f"no backup could be stored: {error.what}")
    report.warnings += target.cautions()
    asked = datetime.now(UTC)
    clock = target.clock()
    if clock is not None:
        here = asked + (datetime.now(UTC) - asked) / 2
        report.clock_skew = round((clock - here).total_seconds())
        if abs(report.clock_skew) > SKEW:
            report.warnings.append(f"its clock is {skew(report.clock_skew)} this machine's; set both by NTP")


def skew(seconds: int) -> str:
    return f"{abs(seconds):,} s {'ahead of' if seconds > 0 else 'behind'}"


def _look(target: Target, secret: str, engine: Engine, context: Context, report: CheckReport) -> None:
    listed = Listed(target)
    inventory = report.inventory = engine.inventory(listed)
    for damaged in inventory.damaged:
        report.problems.append(f"{title(damaged.session)} can't be restored: {'; '.join(damaged.reasons)}")
    sessions = inventory.sessions
    for number, session in enumerate(sessions, 1):
        context.progress(ProgressEvent("check", number, len(sessions), "sessions"))
        verification = engine.verify(listed, session, secret)
        report.problems += [f"{title(session)}: {problem}" for problem in verification.problems]
    last = context.registry.sessions.last_stored(target.address)
    known = {session.time for session in sessions} | {each.session.time for each in inventory.damaged}
    if last is not None and last.session is not None and last.session not in known:
        report.problems.append(
            f"the {last.kind} session of {last.session:%Y-%m-%d %H:%M:%S} UTC, the newest stored, is not there"
        )
    report.free = target.free_bytes()


def title(session: Session) -> str:
    return f"the {session.kind} session of {session.time:%Y-%m-%d %H:%M:%S} UTC"


class Listed(WrappedTarget):
    """A target whose files are listed once, however often they are asked for, until one is written or deleted."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._files: tuple[StoredFile, ...] | None = None

    def files(self) -> Iterator[StoredFile]:
        if self._files is None:
            self._files = tuple(super().files())
        return iter(self._files)

    def delete(self, names: Iterable[str]) -> None:
        self._files = None
        super().delete(names)

    def write(self, name: str, content: BinaryIO) -> None:
        self._files = None
        super().write(name, content)
