"""The command line as people call it, in this process: arguments and input in; status and both outputs back."""

from __future__ import annotations

import codecs
import io
import os
import pty
import select
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tklbam_core.cli.main import main


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


Tklbam = Callable[..., Ran]


@pytest.fixture
def tklbam(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Tklbam:
    """`tklbam("escrow", "-", stdin="line\\n")`; standard input is at its end unless given."""

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["tklbam", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 1, out.decode(), err.decode())

    return run


def at_terminal(arguments: Sequence[str], answers: Sequence[str]) -> tuple[int, str]:
    """Runs `tklbam` on a terminal of its own, typing an answer at each prompt; returns its status and the screen."""
    child, screen = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", "from tklbam_core.cli.main import main; main()", *arguments])
    seen, deadline = "", time.monotonic() + 120
    waiting, decoder = list(answers), codecs.getincrementaldecoder("utf-8")()
    while time.monotonic() < deadline:
        ready, _, _ = select.select([screen], [], [], 0.2)
        if ready:
            try:
                got = os.read(screen, 4096)
            except OSError:
                break
            if not got:
                break
            seen += decoder.decode(got)
        elif waiting and seen.endswith(": "):
            os.write(screen, waiting.pop(0).encode() + b"\n")
            seen += "<typed>"
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen
