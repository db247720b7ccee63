"""How a program of the system under a root is run: directly on the live system, else inside the root."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from ..api.files import atomic_write
from ..api.process import Argument, run
from ..host import Host
from .rooted import inside

_POLICY = "usr/sbin/policy-rc.d"
_MARK = b"# Written by tklbam while it installs packages into a system that is not running."
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNSHARE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")


def environment(host: Host) -> dict[str, str]:
    """What programs of the system get on top of our own environment: C messages, no questions, a full PATH.

    cron's PATH has no sbin, without which dpkg refuses to work.
    """
    own = {
        "LC_ALL": "C",
        "PATH": _PATH,
        "DEBIAN_FRONTEND": "noninteractive",
        "DEBCONF_NONINTERACTIVE_SEEN": "true",
        "APT_LISTCHANGES_FRONTEND": "none",
        "UCF_FORCE_CONFFOLD": "1",
    }
    return own if host.is_live else {**own, "TMPDIR": "/tmp", "HOME": "/root"}


def can_enter(host: Host) -> bool:
    """Whether programs of the host's system can be run at all: it is the live one, or we are root."""
    return host.is_live or os.geteuid() == 0


def has_program(host: Host, path: str) -> bool:
    """Whether the system has an executable file at an absolute path."""
    place = inside(host.root, path)
    return place.is_file() and os.access(place, os.X_OK)


def command(host: Host, argv: list[Argument]) -> list[Argument]:
    """The argument list that runs `argv` in the host's system (see `enter`); plain chroot where namespaces are denied.

    A process that `argv` leaves running inside a root ends with it.
    """
    if host.is_live:
        return argv
    if not _may_unshare():
        return ["chroot", host.root, *argv]
    return [*_UNSHARE, sys.executable, "-P", "-m", f"{__package__}.enter", host.root, *argv]


@contextlib.contextmanager
def prepared(host: Host) -> Iterator[None]:
    """The root made ready for package work, and left as it was found: no service is started in it meanwhile.

    On the live system services start as with any installation: that is what a restore wants. In any other root they
    would run on this machine, so a `policy-rc.d` that denies it is put there, unless the root has its own. What a
    killed run left behind is recognised by its mark and taken over.
    """
    if host.is_live:
        yield
        return
    policy = inside(host.root, _POLICY)
    resolver = inside(host.root, "etc/resolv.conf")
    own_policy = policy.parent.is_dir() and (not policy.exists() or _MARK in policy.read_bytes())
    own_resolver = resolver.parent.is_dir() and not resolver.exists()
    try:
        if own_policy:
            with atomic_write(policy, 0o755) as file:
                file.write(b"#!/bin/sh\n" + _MARK + b"\nexit 101\n")
        if own_resolver:
            resolver.touch()
        yield
    finally:
        if own_policy:
            policy.unlink(missing_ok=True)
        if own_resolver and resolver.stat().st_size == 0:
            resolver.unlink()


def has_leftovers(host: Host) -> bool:
    """Whether a killed run's preparations still lie in the root; the next `prepared` takes them away."""
    policy = inside(host.root, _POLICY)
    return not host.is_live and policy.is_file() and _MARK in policy.read_bytes()


def _may_unshare() -> bool:
    return run([*_UNSHARE, "true"], check=False).status == 0
