"""Runs a function in a child process that is killed (SIGKILL) at its n-th step on a part of the file system."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

STEPS = (
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.symlink",
    "os.utime",
    "os.setxattr",
    "os.removexattr",
    "os.truncate",
    "os.mknod",
)


def killed_at_every_step(work: Callable[[], object], prepare: Callable[[], object], below: Path) -> Iterator[int]:
    """For n = 0, 1, …: calls `prepare`, kills a child doing `work` at its n-th step `below`, yields n to be judged.

    The last one yielded is the child that came to its end.
    """
    step = 0
    while True:
        prepare()
        was_killed = killed(work, step, below)
        yield step
        if not was_killed:
            return
        step += 1


def killed(work: Callable[[], object], step: int, below: Path | None = None) -> bool:
    """Does `work` in a child that is killed at its n-th step (`below`, where given); False: it came to its end."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _kill_self_at(step, b"" if below is None else bytes(below))
        status = 70  # of work that fails by itself
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, f"the work failed by itself before step {step}"
    return os.WIFSIGNALED(status)


def points(work: Callable[[], object], reset: Callable[[], None], count: int) -> Iterator[int]:
    """Steps at which to kill `work`: how many it has, then `count` of them at random."""
    low, high = 0, 1
    while True:
        reset()
        if not killed(work, high):
            break
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        reset()
        if killed(work, middle):
            low = middle
        else:
            high = middle
    yield from sorted(random.sample(range(high), min(count, high)))


def _kill_self_at(step: int, below: bytes) -> None:
    seen = -1

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in STEPS and (not below or any(_path(argument).startswith(below) for argument in arguments)):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _path(argument: object) -> bytes:
    return os.fsencode(argument) if isinstance(argument, str | bytes | os.PathLike) else b""
