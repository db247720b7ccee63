"""What everybody on a machine can read of running programs: their arguments, collected while a block runs."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

INTERVAL = 0.02
"""Seconds between two looks: short-lived programs are meant to be seen, too."""


@dataclass
class Seen:
    """The command lines that were seen, each once, with spaces between the arguments."""

    commands: set[str] = field(default_factory=set)

    def holding(self, word: str) -> list[str]:
        """Those that have `word` in them."""
        return [command for command in self.commands if word in command]


@contextlib.contextmanager
def watched_arguments() -> Iterator[Seen]:
    """Watches the arguments of all processes of this machine that appear while the block runs."""
    seen = Seen()
    ended = threading.Event()
    before = set(_pids())

    def watch() -> None:
        while not ended.is_set():
            for pid in _pids():
                if pid not in before:
                    # A process may be gone again, or not have its arguments yet.
                    with contextlib.suppress(OSError):
                        with open(f"/proc/{pid}/cmdline", "rb") as file:
                            seen.commands.add(file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip())
            time.sleep(INTERVAL)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def _pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]
