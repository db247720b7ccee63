"""A machine of the end-to-end tests: a Debian tree that the command works on with --root, as an administrator would."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.trees import mounted

TKLBAM = Path(sys.executable).with_name("tklbam")


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"status {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"


@dataclass
class Machine:
    """A system under `root`. `environment` is added to what commands get."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        return [str(TKLBAM), *words, "--root", str(self.root)]

    def tklbam(self, *words: str, status: int | None = 0, input: str | None = None) -> Done:
        """Runs a command on this machine and checks its exit status (None: any)."""
        ran = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            env={**os.environ, **self.environment},
        )
        done = Done(ran.returncode, ran.stdout, ran.stderr)
        assert status is None or done.status == status, f"tklbam {' '.join(words)}: {done}"
        return done

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self.tklbam(*words, "--json", status=status).out)

    def inside(self, *words: str) -> str:
        """Runs a program of the system itself (chroot)."""
        ran = subprocess.run(
            ["chroot", str(self.root), *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        )
        assert ran.returncode == 0, f"{words}: {ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def write(self, absolute: str, content: str | bytes, mode: int = 0o644) -> Path:
        place = self.path(absolute)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)
        return place

    @property
    def secret_file(self) -> Path:
        return self.path("/var/lib/tklbam/secret")


@contextlib.contextmanager
def machine(suite: str, directory: Path) -> Iterator[Machine]:
    """A fresh machine of a Debian suite; gone when the block ends."""
    with mounted(suite, directory) as root:
        yield Machine(root)
