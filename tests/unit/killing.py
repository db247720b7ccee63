"""Runs a function in a child process that is killed (SIGKILL) at its n-th step on a part of the file system."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.truncate", "os.symlink")


def killed_at_every_step(work: Callable[[], object], prepare: Callable[[], object], below: Path) -> Iterator[int]:
    """For n = 0, 1, …: calls `prepare`, kills a child doing `work` at its n-th step `below`, yields n to be judged.

    The last one yielded is the child that came to its end.
    """
    step = 0
    while True:
        prepare()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _kill_self_at(step, bytes(below))
            status = 70  # of work that fails by itself
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, f"the work failed by itself at step {step}"
        yield step
        if os.WIFEXITED(status):
            return
        step += 1


def _kill_self_at(step: int, below: bytes) -> None:
    seen = -1

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in STEPS and any(_path(argument).startswith(below) for argument in arguments):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _path(argument: object) -> bytes:
    return os.fsencode(argument) if isinstance(argument, str | bytes | os.PathLike) else b""
