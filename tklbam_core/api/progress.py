"""How long work says how far it is: small events into a sink, which may be the terminal, a log or nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One step of a phase.

    `phase` names the work in the field's words ("scan", "mysql dump", "upload"); `done` and `total` are in `unit`
    ("files", "bytes", "rows", "tables"); `total` is None where it can't be known; `item` is what is at hand.
    """

    phase: str
    done: int
    total: int | None = None
    unit: str = "bytes"
    item: str = ""


Progress = Callable[[ProgressEvent], None]
"""A sink for progress. It must return at once and never raise."""


def silent(event: ProgressEvent) -> None:
    """A sink that shows nothing."""
