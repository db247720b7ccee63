"""The one way programs are run: argument lists, never a shell; streamed; secrets by environment only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import CommandError, TklbamError
from .redact import Redactor

STDERR_TAIL = 64
"""Lines of standard error kept for the error message."""

Argument = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended well (or, with `check=False`, ended): status, standard output, tail of standard error."""

    status: int
    stdout: bytes
    stderr: str


class Process:
    """A running program. `stdin`/`stdout` are binary pipes where asked for; the tail of standard error is kept.

    Lines of standard error are cut at 8 KiB and the last 64 are kept, so memory stays flat however long it runs.
    """

    def __init__(self, child: subprocess.Popen[bytes], program: str, redactor: Redactor) -> None:
        self._child = child
        self._redactor = redactor
        self.program = program
        self._tail: deque[str] = deque(maxlen=STDERR_TAIL)
        self._drain = threading.Thread(target=self._read_stderr, daemon=True)
        self._drain.start()

    def _read_stderr(self) -> None:
        pipe = self._child.stderr
        assert pipe is not None
        while line := pipe.readline(8192):
            self._tail.append(self._redactor.scrub(line.decode("utf-8", "replace").rstrip("\n")))
        pipe.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self._child.stdin is not None, "asked for with stdin=PIPE"
        return self._child.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._child.stdout is not None, "asked for with stdout=PIPE"
        return self._child.stdout

    @property
    def stderr_tail(self) -> str:
        return "\n".join(self._tail)

    def wait(self, *, check: bool = True) -> int:
        """Waits for the end; raises CommandError on a non-zero status unless `check` is False."""
        status = self._child.wait()
        self._drain.join(timeout=5)
        if check and status != 0:
            raise CommandError(self.program, status, self.stderr_tail)
        return status

    def stop(self) -> None:
        """Ends the program: SIGTERM, and SIGKILL after five seconds."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


@contextlib.contextmanager
def start(
    argv: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
    cwd: Path | None = None,
    chroot: Path | None = None,
    pass_fds: Sequence[int] = (),
    tied: bool = True,
) -> Iterator[Process]:
    """Runs a program for the length of a `with` block; on leaving by an exception it is stopped, else waited for.

    `env` is added to this process's environment (a value of "" stays an empty string); `secrets` likewise, and is
    never shown in errors or logs (the values whose names say that they are secret: `…_PASSWORD`, `…_TOKEN`). `stdin`
    and `stdout` are subprocess.PIPE, DEVNULL or an open file, and /dev/null unless given. `chroot` runs the program
    inside that root.
    A `tied` program is killed by the kernel when this one dies, however it dies, so that no orphan goes on writing;
    package managers are not tied, since they must end what they began.
    Raises CommandError when the program exits non-zero, TklbamError when it is not installed.
    """
    program = os.fsdecode(argv[0])
    if not _present(program, chroot):
        raise TklbamError(f"{program} is not installed", f"Install the package that provides {Path(program).name}.")
    child = subprocess.Popen(
        [os.fspath(word) for word in [*_tied_words(tied), *_chroot_words(chroot), *argv]],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.DEVNULL if stdout is None else stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {}), **(secrets or {})},
        cwd=cwd,
        pass_fds=tuple(pass_fds),
    )
    redactor = Redactor()
    redactor.add_environment(secrets or {})
    process = Process(child, Path(program).name, redactor)
    try:
        yield process
        for pipe in (child.stdin, child.stdout):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        process.wait()
    finally:
        process.stop()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def run(
    argv: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    input: bytes | None = None,
    cwd: Path | None = None,
    chroot: Path | None = None,
    tied: bool = True,
    check: bool = True,
) -> Completed:
    """Runs a program whose output is small (it is kept in memory) and returns what it printed.

    Raises CommandError on a non-zero status unless `check` is False.
    """
    stdin = subprocess.PIPE if input is not None else None
    output = b""
    try:
        with start(
            argv, env=env, secrets=secrets, stdin=stdin, stdout=subprocess.PIPE, cwd=cwd, chroot=chroot, tied=tied
        ) as process:
            feeder = threading.Thread(target=_feed, args=(process, input or b""), daemon=True) if stdin else None
            if feeder:
                feeder.start()
            output = process.stdout.read()
            if feeder:
                feeder.join()
        return Completed(0, output, process.stderr_tail)
    except CommandError as error:
        if check:
            raise
        return Completed(error.status, output, error.stderr)


def _feed(process: Process, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(data)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _tied_words(tied: bool) -> list[str]:
    # setpriv(1) sets the death signal and then becomes the program: no code runs between fork and exec in here.
    return ["setpriv", "--pdeathsig", "KILL", "--"] if tied and shutil.which("setpriv") else []


def _chroot_words(chroot: Path | None) -> list[str]:
    return ["chroot", str(chroot)] if chroot is not None and chroot != Path("/") else []


def _present(program: str, chroot: Path | None) -> bool:
    # Inside a chroot the program is looked up by chroot(8) itself.
    return bool(_chroot_words(chroot)) or shutil.which(program) is not None
