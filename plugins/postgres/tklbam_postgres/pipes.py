"""Big tables come from pg_dump through named pipes instead of files, so that their rows are written once, not twice.

pg_dump in directory format opens a file a table, in its workers. A pipe of that name, made before, is as good to it. It
must be made after pg_dump has found its directory empty and written its table of contents (which says what the files
will be called), and before a worker opens the file: so the workers are stopped for the moment that takes. Where that
comes too late, the file is there, stays a file, and is cut when it is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tklbam_core.api import DatabaseError

from .cut import BUFFER, Cutter, Rows

CAPACITY = 1 << 20
MOST_PIPES = 64


class Pipes:
    """The pipes of one dump. `done` is told each table's file name and rows once they are complete."""

    def __init__(self, done: Callable[[str, Rows], None]) -> None:
        self._done = done
        self._poll = select.poll()
        self._open: dict[int, tuple[Path, Cutter]] = {}
        self._process: int | None = None

    def watch(self, pid: int) -> None:
        """From now on the end of this process ends a wait, too."""
        if self._process is None:
            with contextlib.suppress(OSError):  # a kernel before 5.3: then the wait ends by itself
                self._process = os.pidfd_open(pid)
                self._poll.register(self._process, select.POLLIN)

    def make(self, path: Path, directory: Path, owner: int) -> None:
        """Makes a pipe at `path`, owned by user id `owner`, for rows that go below `directory`. A file there stays."""
        if len(self._open) >= MOST_PIPES:
            return
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            return
        os.chown(path, owner, -1)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # more than this user may have: then it stays small
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, CAPACITY)
        self._open[descriptor] = path, Cutter(directory)
        self._poll.register(descriptor, select.POLLIN)

    def __contains__(self, path: Path) -> bool:
        return any(each == path for each, _ in self._open.values())

    def read(self, milliseconds: int) -> bool:
        """Waits up to so long for rows and takes what is there; False when nothing came.

        Raises OSError where they can't be written. Of a table whose rows end too early `done` is never told.
        """
        ready = [descriptor for descriptor, _ in self._poll.poll(milliseconds) if descriptor != self._process]
        for descriptor in ready:
            if self._take(descriptor):
                self._finish(descriptor)
        return bool(ready)

    def _take(self, descriptor: int) -> bool:
        """Takes what one pipe holds, but not so much that others wait for long; True when pg_dump has closed it."""
        cutter = self._open[descriptor][1]
        for _ in range(CAPACITY // BUFFER):
            try:
                data = os.read(descriptor, BUFFER)
            except BlockingIOError:
                break
            if not data:  # opened and closed again: one that pg_dump has not opened yet is not ready
                return True
            cutter.feed(data)
            if len(data) < BUFFER:
                break
        return False

    def _finish(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        path, cutter = self._open.pop(descriptor)
        os.close(descriptor)
        path.unlink()
        try:
            rows = cutter.finish()
        except DatabaseError:
            return  # pg_dump ends by itself, and knows better why; if it ended well, these rows would be missed
        finally:
            cutter.close()
        self._done(path.name, rows)

    def close(self) -> None:
        """Closes and removes what was never used, or was being read when something failed."""
        if self._process is not None:
            os.close(self._process)
            self._process = None
        for descriptor, (path, cutter) in self._open.items():
            os.close(descriptor)
            cutter.close()
            path.unlink(missing_ok=True)
        self._open.clear()


@contextlib.contextmanager
def long_turns() -> Iterator[None]:
    """Schedules this thread, and the programs that it starts in the block, as batch work (sched(7)).

    Server, pg_dump and we feed each other. With each woken at once for every few kilobytes, a tenth of the time would
    go into switching between them. Where the system forbids it, all stays as it was.
    """
    plain = os.sched_getscheduler(0) == os.SCHED_OTHER
    with contextlib.suppress(PermissionError):
        if plain:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        if plain:
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextlib.contextmanager
def standstill() -> Iterator[Callable[[Iterable[int]], None]]:
    """Gives a function that stops processes; when the block ends they go on."""
    halted: set[int] = set()

    def halt(pids: Iterable[int]) -> None:
        for pid in set(pids) - halted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                halted.add(pid)

    try:
        yield halt
    finally:
        for pid in halted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """The processes that a process has started; none where the system does not tell."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
