"""What came of writing a session, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

LIMIT = 1000
"""Lines kept of each kind."""


def shown(path: bytes) -> str:
    """A path for people."""
    return path.decode("utf-8", "backslashreplace")


@dataclass(slots=True)
class Outcome:
    """Counts of the source (directories are counted as files; sizes are bytes), and lines for people.

    `unchanged_size` is of what the chain had already, where that is known. `unread` could not be stored, of which no
    more than 1,000 are named and `more_unread` counts the others; `vanished` went away after it was listed.
    """

    source_files: int = 0
    source_size: int = 0
    unchanged_size: int = 0
    new_files: int = 0
    changed_files: int = 0
    deleted_files: int = 0
    unread: list[str] = field(default_factory=list)
    more_unread: int = 0
    vanished: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each file that was sent, where that is known, by name."""

    def add_unread(self, path: bytes, why: str) -> None:
        """Notes a path that could not be stored."""
        line = f"{shown(path)}: {why}"
        if len(self.unread) < LIMIT:
            self.unread.append(line)
        else:
            self.more_unread += 1
