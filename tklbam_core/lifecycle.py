"""Tells hooks.d and listening plugins where a run is, in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .api.errors import TklbamError
from .api.models import LifecycleEvent, Stage
from .context import Context
from .hooks import Hooks


@dataclasses.dataclass(frozen=True, slots=True)
class Lifecycle:
    """The stages of one run: `pre` before anything is touched, `inspect` once the extras are there, `post` at the
    end; `failed` instead of `post` when the run raises (plugins only: an executable knows no such stage)."""

    context: Context
    hooks: Hooks
    event: LifecycleEvent

    def at(self, stage: Stage, *, extras: Path | None = None, outcome: str = "") -> None:
        """Raises HookError or the listener's TklbamError: at `pre` and `inspect` that stops the run."""
        if self.event.operation != "rollback":
            cwd = extras if stage == "inspect" else None
            self.hooks.run(self.event.operation, stage, cwd=cwd, say=self.context.note)
        event = dataclasses.replace(self.event, stage=stage, extras=extras, outcome=outcome)
        self.context.plugins.tell("tklbam_lifecycle", event=event)

    @contextmanager
    def reporting_failure(self) -> Iterator[None]:
        """Tells listeners when the block raises; their own failure then is only a warning."""
        try:
            yield
        except BaseException:
            event = dataclasses.replace(self.event, stage="failed", outcome="failed")
            try:
                self.context.plugins.tell("tklbam_lifecycle", event=event)
            except TklbamError as error:
                self.context.warn(error.what)
            raise
