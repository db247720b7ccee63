"""apt as it is driven here: its options, its simulation, its index update; inside whatever root the host has.

**Never upgrading what is installed** is put to apt itself: while we work, a preferences file of ours pins every
installed package to the version it has, and packages from the same source to that version where it can still be had
(so `perl` comes in the version of the `perl-base` that is there). apt then finds a way that upgrades nothing, or says
that there is none. Source: apt_preferences(5), apt-get(8), apt.conf(5).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..api.errors import SpaceError, TklbamError
from ..api.files import atomic_write
from ..api.process import Completed, run, start
from ..host import Host
from .chroot import can_enter, command, environment, has_program
from .dpkg import STATUS, display_name, native_architecture, stanzas
from .rooted import inside

LOCK_TIMEOUT = 300
"""Seconds to wait for another program that holds dpkg's or apt's locks."""

_PINS = "/var/lib/apt/tklbam-pins"
_INST = re.compile(r"Inst (\S+) (?:\[([^\]]*)\] )?\((\S+)")
_REMV = re.compile(r"(?:Remv|Purg) (\S+)")
_UNMET = re.compile(r"^ (\S+) : (.+)$")
_LOCKED = ("Could not get lock", "Unable to acquire", "Unable to lock", "is locked by another process")
_FULL = ("No space left on device", "enough free space")


@dataclass(frozen=True, slots=True)
class Simulation:
    """What apt would do: packages by name with their new version; `upgraded` as (name, old, new).

    `problems` are apt's words, by package where it names one ("" where not); empty when apt could do it.
    """

    installed: dict[str, str]
    upgraded: tuple[tuple[str, str, str], ...]
    removed: tuple[str, ...]
    problems: dict[str, str]

    @property
    def is_clean(self) -> bool:
        """Possible, and it changes nothing that is installed."""
        return not (self.problems or self.upgraded or self.removed)


def unusable_reason(host: Host) -> str | None:
    """Why apt can't be used for this host's packages, as a notice; None where it can."""
    if not has_program(host, "/usr/bin/apt-get"):
        return f"{host.root} has no apt: packages are listed and left"
    if not can_enter(host):
        return f"running apt inside {host.root} needs root: packages are listed and left"
    return None


@contextlib.contextmanager
def pinned(host: Host) -> Iterator[tuple[str, ...]]:
    """apt options under which nothing installed is upgraded or removed, for the length of the block."""
    admin = inside(host.root, "etc/apt/preferences")
    with contextlib.ExitStack() as stack:
        if host.is_live:  # a place that anyone has: a plan can be made without being root
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="tklbam-")) + "/pins"
            place = Path(name)
        else:
            name, place = _PINS, inside(host.root, _PINS)
            stack.callback(place.unlink, missing_ok=True)
        with atomic_write(place, 0o644) as file:
            for text in _pins(host.root):
                file.write(text.encode("utf-8", "surrogateescape"))
            # Ours takes the place of the administrator's file, so it takes it in; preferences.d is read as ever.
            file.write(admin.read_bytes() if admin.is_file() else b"")
        yield ("-o", f"Dir::Etc::Preferences={name}", "--no-remove")


def discard_pins(host: Host) -> None:
    """Takes away the preferences that a killed run left in a root."""
    if not host.is_live:
        inside(host.root, _PINS).unlink(missing_ok=True)


def query(host: Host, argv: Sequence[str]) -> Completed:
    """Runs a program of the host's system that prints little, whatever its exit status."""
    return run(command(host, list(argv)), env=environment(host), check=False)


def stream(host: Host, argv: Sequence[str]) -> contextlib.AbstractContextManager[Iterable[bytes]]:
    """Runs a program of the host's system and yields its standard output line by line."""

    @contextlib.contextmanager
    def lines() -> Iterator[Iterable[bytes]]:
        with start(command(host, list(argv)), env=environment(host), stdout=subprocess.PIPE) as process:
            yield process.stdout

    return lines()


def update(host: Host, *, lock_timeout: float = LOCK_TIMEOUT) -> tuple[str, ...]:
    """`apt-get update`. What failed comes back as warnings, each naming its source: the old lists still serve.

    Raises TklbamError when another program holds the lock of the lists for `lock_timeout` seconds.
    """
    if os.geteuid() != 0:
        return ("apt's lists can't be brought up to date without being root: those that are there serve",)
    argv = ["apt-get", "-q", "-o", "Acquire::Retries=2", "update"]
    ended = _unlocked(host, argv, lock_timeout)
    warnings = []
    for line in ended.stderr.split("\n"):
        kind, colon, text = line.partition(": ")
        if colon and kind in ("W", "E") and "old ones used instead" not in text:
            warnings.append(f"apt-get update: {text.strip()}")
    if ended.status != 0 and not warnings:
        warnings.append(f"apt-get update exited with status {ended.status}")
    return tuple(dict.fromkeys(warnings))


def candidates(host: Host, names: Iterable[str], options: Sequence[str] = ()) -> dict[str, str]:
    """Name → version that apt would install, for those of `names` that can be had."""
    wanted = sorted(set(names))
    found: dict[str, str] = {}
    if not wanted:
        return found
    current = ""
    for line in query(host, ["apt-cache", *options_for_cache(options), "policy", *wanted]).stdout.decode().split("\n"):
        if line and not line.startswith(" "):
            current = line.rstrip(":")
        elif line.startswith("  Candidate: ") and current in wanted:
            version = line.removeprefix("  Candidate: ")
            if version != "(none)":
                found[current] = version
    return found


def options_for_cache(options: Sequence[str]) -> list[str]:
    """The `-o` settings among apt-get's options: the others are unknown to apt-cache."""
    return [word for pair in pairwise(options) if pair[0] == "-o" for word in pair]


def simulate(host: Host, names: Iterable[str], options: Sequence[str] = ()) -> Simulation:
    """What `apt-get install` of these names would do. Changes nothing, takes no lock."""
    ended = query(host, ["apt-get", "-q", "-s", *options, "install", "--assume-yes", "--", *sorted(names)])
    text = ended.stdout.decode("utf-8", "replace")
    fresh: dict[str, str] = {}
    upgraded, removed = [], []
    for line in text.split("\n"):
        if found := _INST.match(line):
            if found[2]:
                upgraded.append((found[1], found[2], found[3]))
            else:
                fresh[found[1]] = found[3]
        elif found := _REMV.match(line):
            removed.append(found[1])
    problems = _problems(text, ended.stderr) if ended.status != 0 else {}
    return Simulation(fresh, tuple(upgraded), tuple(removed), problems)


def last_error(stderr: str) -> str:
    """apt's or dpkg's own words for a failure, in one line."""
    lines = [line.strip() for line in stderr.split("\n") if line.strip()]
    errors = [line for line in lines if line.startswith(("E: ", "dpkg: error"))]
    generic = "E: Sub-process /usr/bin/dpkg returned an error code"
    telling = [line for line in errors if not line.startswith(generic)] or errors or lines
    return telling[0].removeprefix("E: ") if telling else "no reason given"


def is_locked(stderr: str) -> bool:
    """Whether apt says that another program holds a lock it needs."""
    return any(sign in stderr for sign in _LOCKED)


def check_space(host: Host, output: str) -> None:
    """Raises SpaceError where apt or dpkg says that a file system is full."""
    for line in output.split("\n"):
        if any(sign in line for sign in _FULL):
            raise SpaceError(
                f"no room for packages under {host.root}: {line.strip().removeprefix('E: ')}",
                "Free space there, or restore with --skip-packages.",
            )


def _unlocked(host: Host, argv: Sequence[str], timeout: float) -> Completed:
    # apt waits for dpkg's lock by itself (DPkg::Lock::Timeout), but not for that of its lists.
    deadline = time.monotonic() + timeout
    while True:
        ended = query(host, argv)
        if ended.status == 0 or not is_locked(ended.stderr):
            return ended
        if time.monotonic() >= deadline:
            raise TklbamError(
                f"another program holds apt's lock: {last_error(ended.stderr)}", "Wait until it is done, and try again."
            )
        time.sleep(2)


def _problems(text: str, stderr: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (text + "\n" + stderr).split("\n"):
        if unmet := _UNMET.match(line):
            found.setdefault(unmet[1].removesuffix(":any"), unmet[2].strip())
    return found or {"": last_error(stderr)}


def _pins(root: Path) -> Iterator[str]:
    native = native_architecture(root)
    sources: dict[str, str] = {}
    fields = ("package", "status", "architecture", "version", "source")
    for _, stanza in stanzas(inside(root, STATUS), fields):
        version = stanza.get("version", "")
        if not version or stanza.get("status", "").split()[-1:] in ([], ["not-installed"], ["config-files"]):
            continue
        package = stanza.get("package", "")
        yield _pin(display_name(package, stanza.get("architecture", ""), native), version)
        sources.setdefault(stanza.get("source", package).split(" ")[0], version)
    for source, version in sources.items():
        yield _pin(f"src:{source}", version)


def _pin(package: str, version: str) -> str:
    return f"Package: {package}\nPin: version {version}\nPin-Priority: 1001\n\n"
