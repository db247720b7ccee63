"""What applying a delta, or undoing it, came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .metadata import out_of_space
from .safepath import show


class Problem(NamedTuple):
    """A path that could not be dealt with, and why. As text: one line."""

    path: bytes
    reason: str

    def __str__(self) -> str:
        return f"{show(self.path)}: {self.reason}"


@dataclass(slots=True)
class ApplyReport:
    """`done` paths were changed (or found as they should be), `skipped` are none of this system's business.

    `displaced` made room for something of another type. Everything in `problems` was left as it was, or nearly: each
    says what is missing.
    """

    done: int = 0
    skipped: int = 0
    displaced: list[bytes] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def failed(self, path: bytes, error: OSError) -> None:
        """Notes a problem; raises SpaceError instead where a file system is full, as then nothing else will work."""
        full = out_of_space(error, path)
        if full is not None:
            raise full from error
        self.problems.append(Problem(path, error.strerror or str(error)))

    def add_problems(self, path: bytes, reasons: list[str]) -> None:
        self.problems.extend(Problem(path, reason) for reason in reasons)
