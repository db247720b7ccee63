"""A private copy of the machine that the tests run on: a system whose root is `/`, to be changed at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.machine import TKLBAM, Done
from tklbam_core.plugins import find

CHECKOUT = Path(__file__).resolve().parents[2]
CRON = {"PATH": "/usr/bin:/bin"}
LIMIT = 300
"""Seconds after which a command hangs, on however busy a machine."""


@dataclass(frozen=True)
class Live:
    """The copy, seen from outside at `root`. Commands run inside it (chroot), where its root is `/`."""

    root: Path

    def path(self, absolute: str | Path) -> Path:
        return self.root / str(absolute).lstrip("/")

    def write(self, absolute: str | Path, content: str, mode: int = 0o644) -> Path:
        place = self.path(absolute)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
        place.chmod(mode)
        return place

    def run(self, *words: str, status: int | None = 0, environment: Mapping[str, str] = CRON) -> Done:
        ran = subprocess.run(
            [shutil.which("chroot", path="/usr/sbin:/sbin") or "chroot", str(self.root), *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            timeout=LIMIT,
            start_new_session=True,
        )
        done = Done(ran.returncode, ran.stdout, ran.stderr)
        assert status is None or done.status == status, f"{words}: {done}"
        return done

    def tklbam(self, *words: str, status: int | None = 0, **environment: str) -> Done:
        return self.run(str(TKLBAM), *words, status=status, environment={**CRON, **environment})

    def cron(self, *, umask: str = "022", status: int = 0) -> Done:
        """The shipped script as cron runs it: no terminal, standard input closed, an environment of a path alone."""
        command = f"cd /; umask {umask}; exec /etc/cron.daily/tklbam-backup <&-"
        return self.run("/bin/sh", "-c", command, status=status)

    def add_distribution(self, folder: Path) -> None:
        """Installs what is in a folder (modules and metadata) for the Python that runs tklbam."""
        subprocess.run(["cp", "-r", f"{folder}/.", self.path(sysconfig.get_path("purelib"))], check=True)

    def configure(self, *lines: str) -> None:
        """Writes the configuration. The engines of this machine's own servers are left alone."""
        others = [f"disable-plugin databases:{plugin.name}" for plugin in find(["databases"])]
        self.write("/etc/tklbam/conf", "".join(f"{line}\n" for line in [*others, *lines]))


@contextlib.contextmanager
def live(directory: Path) -> Iterator[Live]:
    """The copy, in `directory`, which is made; what it holds lies in memory and is gone when the block ends."""
    directory.mkdir()
    with contextlib.ExitStack() as stack:

        def mount(place: Path, *words: Any) -> None:
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", *map(str, words), str(place)], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)

        mount(directory, "-t", "tmpfs", "-o", "size=300m,mode=755", "tmpfs")
        upper, work, root = (directory / name for name in ("upper", "work", "root"))
        upper.mkdir()
        work.mkdir()
        mount(root, "-t", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", "overlay")
        needed = {Path(place) for place in (CHECKOUT, sys.prefix, sys.base_prefix)}
        for point in {_mount_point(place) for place in needed} - {Path("/")}:
            mount(root / point.relative_to("/"), "--bind", point)
        mount(root / "proc", "-t", "proc", "proc")
        mount(root / "dev", "--bind", "/dev")
        for place in ("run", "tmp"):
            mount(root / place, "-t", "tmpfs", "tmpfs")
        for hidden in (place for place in needed if place.is_relative_to("/tmp")):
            # Writable without changing the original, like all else in the copy.
            top, scratch = root / hidden.relative_to("/"), directory / f"tmp-{abs(hash(hidden))}"
            (scratch / "upper").mkdir(parents=True)
            (scratch / "work").mkdir()
            mount(
                top,
                "-t",
                "overlay",
                "-o",
                f"lowerdir={hidden},upperdir={scratch}/upper,workdir={scratch}/work",
                "overlay",
            )
        yield Live(root)


def _mount_point(place: Path) -> Path:
    real = Path(os.path.realpath(place))
    return next(each for each in [real, *real.parents] if os.path.ismount(each))
