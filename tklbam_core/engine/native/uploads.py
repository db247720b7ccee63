"""Files on their way to the target, beside the work that makes the next ones."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ...api.storage import Target

LONGEST = 60.0
"""Seconds that files on their way are waited for when all is lost anyway."""


@dataclass
class Uploads:
    """Stores files under names on the target, `count` at a time, and removes them here.

    Whoever hands over a file waits until one of the others has gone, so that no more than `count` wait on the disk.
    Errors of the target come out of the next call. As a context it ends its threads. When it is left by an exception,
    what has not begun is dropped, and what is on its way is waited for, so that nothing arrives after whoever cleans up
    has looked; not for ever, and not where the process is to end.
    """

    target: Target
    count: int
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of what was stored, by name."""

    def __post_init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[str, Path] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(self.count)
        self._error: BaseException | None = None
        self._left = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.count)]

    def __enter__(self) -> Uploads:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._left = kind is not None
        for _thread in self._threads:
            self._waiting.put(None)
        if kind is None or issubclass(kind, Exception):
            deadline = time.monotonic() + LONGEST
            for thread in self._threads:
                thread.join(None if kind is None else max(0.0, deadline - time.monotonic()))

    def put(self, name: str, path: Path) -> None:
        """Hands a file over. Raises what an earlier one failed with."""
        self._free.acquire()
        self._check()
        self._waiting.put((name, path))

    def wait(self) -> None:
        """Waits for all. Raises what one of them failed with."""
        for _ in range(self.count):
            self._free.acquire()
        for _ in range(self.count):
            self._free.release()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (order := self._waiting.get()) is not None:
            name, path = order
            try:
                if self._error is None and not self._left:
                    with path.open("rb") as content:
                        self.sizes[name] = path.stat().st_size
                        self.target.write(name, content)
                    path.unlink()
            except BaseException as error:  # noqa: BLE001 - it is raised where it can be dealt with
                self._error = error
            finally:
                self._free.release()
