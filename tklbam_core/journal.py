"""The journal of a restore: what was about to be done, written and synced before each irreversible step.

The steps are `saved`, `packages`, `users`, `overlay`, `databases` and `done`, in that order; each is written before its
work begins, `saved` and `done` after it. They are the file `journal` in the rollback area, one JSON object a line.
A torn last line (the process was killed while writing it) stands for a step that had not begun.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .api.errors import FormatError
from .api.files import sync_directory


class Journal:
    """An append-only, synced list of steps in a rollback area."""

    def __init__(self, area: Path) -> None:
        self.path = area / "journal"

    def write(self, step: str, **details: Any) -> None:
        """Appends a step; it is on the disk when this returns."""
        new = not self.path.exists()
        if not new:
            self._drop_torn_line()
        line = json.dumps({"step": step, **details}, ensure_ascii=True, sort_keys=True) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_directory(self.path.parent)

    def _drop_torn_line(self) -> None:
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(self.path, content.rfind(b"\n") + 1)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The steps written so far. Raises FormatError for a line (but the torn last one) that is no step."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        # What follows the last newline is a write that was cut short: its step had not begun.
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict) or not isinstance(entry.get("step"), str):
                raise FormatError(
                    self.path,
                    number,
                    "not a step of a restore's journal",
                    "The rollback area is damaged; restore what you miss from it by hand.",
                )
            yield entry

    def steps(self) -> dict[str, dict[str, Any]]:
        """The steps by name, the last of each."""
        return {entry["step"]: entry for entry in self.entries()}
