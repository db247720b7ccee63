"""The command line as people call it, in this process: arguments and input in; status and both outputs back."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
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
