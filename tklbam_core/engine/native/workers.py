"""Packing on several processors: worker processes take batches of members in turn, and their parts come back in order.

A worker gets no secret and writes to nothing but its pipe. What goes through the pipes are frames: four bytes of length
and a value of Python's `marshal`.
"""

from __future__ import annotations

import itertools
import marshal
import queue
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any, cast

from ...api.errors import EngineError
from ...api.process import Process, start
from ..program import own_program
from .members import Member, Packer, Part

ALONE = 16 << 20
"""Bytes of the source up to which starting others would take longer than doing it here."""
AHEAD = 2
"""Batches that a worker is given before its first one is fetched."""
MOST = 4
_LENGTH = struct.Struct("<I")
_PROGRAM = "import sys; from tklbam_core.engine.native.workers import serve; serve(int(sys.argv[1]))"
_END = None
"""After the parts of a batch."""


def pack(batches: Iterable[Sequence[Member]], processors: int, segment: int) -> Generator[Part]:
    """The parts of all batches, in order, of `segment` bytes before compression. Raises EngineError where a worker
    fails."""
    remaining = iter(batches)
    packer, done = Packer(segment), 0
    for batch in remaining:
        done += sum(member.size for member in batch)
        if done > ALONE and processors > 1:
            yield from _in_parallel(itertools.chain([batch], remaining), min(processors, MOST), segment)
            return
        yield from packer.pack(batch)


def _in_parallel(batches: Iterator[Sequence[Member]], count: int, segment: int) -> Iterator[Part]:
    command, environment = own_program(_PROGRAM, str(segment))
    with ExitStack() as stack:
        workers = [
            stack.enter_context(start(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(count)
        ]
        at_work: deque[Process] = deque()
        for worker, batch in zip(workers * AHEAD, batches, strict=False):
            _order(worker, batch)
            at_work.append(worker)
        while at_work:
            worker = at_work.popleft()
            yield from _parts(worker)
            batch_or_none = next(batches, None)
            if batch_or_none is not None:
                _order(worker, batch_or_none)
                at_work.append(worker)


def _order(worker: Process, batch: Sequence[Member]) -> None:
    try:
        _send(worker.stdin, [tuple(member) for member in batch])
    except BrokenPipeError as error:
        raise _ended(worker) from error


def _parts(worker: Process) -> Iterator[Part]:
    """The parts of one batch."""
    while True:
        try:
            frame = _receive(worker.stdout)
        except EOFError as error:
            raise _ended(worker) from error
        if frame is _END:
            return
        yield Part(*cast("tuple[bytes]", frame))


def _ended(worker: Process) -> EngineError:
    status = worker.wait(check=False)
    why = worker.stderr_tail.splitlines()[-1:] or [f"status {status}"]
    return EngineError(
        f"a process that packs files ended early: {why[0]}",
        "Check that there is memory left (the kernel may have ended it), then run the backup again.",
    )


def serve(segment: int) -> None:
    """A worker: members from standard input, parts to standard output, until the input ends."""
    waiting: queue.SimpleQueue[list[tuple[object, ...]] | None] = queue.SimpleQueue()

    def take() -> None:
        # Always ready to read, so that neither side waits for the other for ever.
        try:
            while True:
                waiting.put(cast("list[tuple[object, ...]]", _receive(sys.stdin.buffer)))
        except EOFError:
            waiting.put(None)

    threading.Thread(target=take, daemon=True).start()
    out, packer = sys.stdout.buffer, Packer(segment)
    while (batch := waiting.get()) is not None:
        for part in packer.pack(Member(*cast("tuple[bytes]", member)) for member in batch):
            _send(out, tuple(part))
        _send(out, _END)


def _send(pipe: IO[bytes], value: object) -> None:
    data = marshal.dumps(cast(Any, value))
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> object:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError("it ended")
    (size,) = _LENGTH.unpack(head)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError("it ended")
    return marshal.loads(data)
