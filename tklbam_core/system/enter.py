"""Runs one program inside a root, in mount and process namespaces of its own: `python -m … ROOT PROGRAM [ARGUMENT…]`.

`chroot.command` starts this through unshare(1), so every mount made here is gone when the program ends, and so is
every process it left behind. What the program finds, and why:

- `/proc` of its own process namespace: maintainer scripts and dpkg ask it;
- `/run` empty, in memory: what scripts leave there belongs to no running system, and must not stay in the root;
- `/dev` as here, where the root has no device nodes of its own (most container images have none);
- `/etc/resolv.conf` as here: the program uses this machine's network, whatever the root was made for.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

from ..api.process import run
from .rooted import inside


def main(words: list[str]) -> None:
    """Never returns: the process becomes the program. Exit status 127 where there is no such program."""
    root, argv = Path(words[0]), words[1:]
    resolver = _read(Path("/etc/resolv.conf"))
    _mount(root, "proc", "-t", "proc", "proc")
    _mount(root, "run", "-t", "tmpfs", "-o", "mode=0755,size=64m", "tmpfs")
    if not _is_device(root / "dev/null"):
        _mount(root, "dev", "--rbind", "/dev")
    _place_resolver(root, resolver)
    os.chroot(root)
    os.chdir("/")
    if shutil.which(argv[0]) is None:
        print(f"{argv[0]}: not found in {root}", file=sys.stderr)  # noqa: T201 - a program of its own
        raise SystemExit(127)
    os.execvp(argv[0], argv)


def _mount(root: Path, name: str, *options: str) -> None:
    place = inside(root, name)
    if place.is_dir():
        run(["mount", *options, place])


def _place_resolver(root: Path, content: bytes) -> None:
    place = inside(root, "etc/resolv.conf")
    own = inside(root, "run") / "tklbam-resolv.conf"
    if not content or not own.parent.is_dir():
        return
    # Often a link into /run, which is empty here; and a bind mount needs something to lie on.
    if place.is_relative_to(own.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    elif place.is_file():
        own.write_bytes(content)
        run(["mount", "--bind", own, place])


def _is_device(path: Path) -> bool:
    return path.exists() and stat.S_ISCHR(path.stat().st_mode)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


if __name__ == "__main__":
    main(sys.argv[1:])
