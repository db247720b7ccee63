"""Files on their way to the target, beside the work that makes the next ones."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path

from ...api.storage import Target


@dataclass
class Uploads:
    """Stores files under names on the target, `count` at a time, and removes them here.

    Whoever hands over a file waits until one of the others has gone, so that no more than `count` wait on the disk.
    Errors of the target come out of the next call. As a context it ends its threads; what is on its way when it is left
    by an exception is not waited for.
    """

    target: Target
    count: int
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of what was stored, by name."""

    def __post_init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[str, Path] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(self.count)
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.count)]

    def __enter__(self) -> Uploads:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for _thread in self._threads:
            self._waiting.put(None)
        if kind is None:
            for thread in self._threads:
                thread.join()

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
                if self._error is None:
                    with path.open("rb") as content:
                        self.sizes[name] = path.stat().st_size
                        self.target.write(name, content)
                    path.unlink()
            except BaseException as error:  # noqa: BLE001 - it is raised where it can be dealt with
                self._error = error
            finally:
                self._free.release()
