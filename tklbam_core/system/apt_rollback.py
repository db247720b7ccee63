"""The set and versions of a system's packages, noted before a restore and brought back by its rollback."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..api.errors import FormatError, TklbamError
from ..api.files import atomic_write
from ..api.progress import Progress, ProgressEvent, silent
from ..host import Host
from .apt import LOCK_TIMEOUT, discard_pins, last_error, query, unusable_reason
from .apt_install import apt_options, dpkg_force
from .chroot import has_leftovers, prepared
from .dpkg import EXTENDED_STATES, Package, has_dpkg, packages
from .rooted import inside

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The packages of a system at one moment.

    `installed` is name → version of all that are there (half-way ones too), `residual` of those removed whose
    configuration remains; `held` are names; `marks` is the text of apt's `extended_states`, None where there is none.
    """

    installed: dict[str, str] = field(default_factory=dict)
    residual: dict[str, str] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    marks: str | None = None

    def to_json(self) -> bytes:
        value = {
            "format": _FORMAT,
            "installed": self.installed,
            "residual": self.residual,
            "held": sorted(self.held),
            "marks": self.marks,
        }
        return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, source: Path | str) -> Snapshot:
        """`source` names the file in errors. Raises FormatError."""
        remedy = "This file is written by a restore; without it packages can't be rolled back."
        try:
            value = json.loads(data)
            if value["format"] != _FORMAT:
                raise FormatError(source, None, f"package snapshot of unknown format {value['format']}", remedy)
            return cls(
                dict(value["installed"]),
                dict(value["residual"]),
                frozenset(value["held"]),
                value["marks"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(source, None, f"not a package snapshot ({error})", remedy) from error


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """What `rollback` did: packages taken away and put back (with their version); `problems` say what it could not."""

    removed: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def snapshot(host: Host) -> Snapshot:
    """The packages as they are now; empty without dpkg."""
    there: dict[str, str] = {}
    residual: dict[str, str] = {}
    held = set()
    for package in packages(host.root):
        if package.state == "config-files":
            residual[package.name] = package.version
        elif package.state != "not-installed":
            there[package.name] = package.version
            if package.is_held:
                held.add(package.name)
    marks = inside(host.root, EXTENDED_STATES)
    text = marks.read_bytes().decode("utf-8", "surrogateescape") if marks.is_file() else None
    return Snapshot(there, residual, frozenset(held), text)


def rollback(
    host: Host, before: Snapshot, progress: Progress = silent, *, lock_timeout: int = LOCK_TIMEOUT
) -> RollbackReport:
    """Brings back the set, the versions and the apt marks of `before`; can be run again after being killed.

    Also after an installation that was killed: its apt-get may still be running, so dpkg's lock is waited for
    (seconds), and what it left half-way is finished or purged. Versions that were changed or removed come back where
    apt still has them; everything that could not be done is in the report's `problems`.
    """
    if not has_dpkg(host.root):
        return RollbackReport()
    discard_pins(host)
    now = snapshot(host)
    reason = unusable_reason(host)
    if now == before and (reason is not None or not has_leftovers(host)):
        return RollbackReport()
    if reason is not None:
        return RollbackReport(problems=(reason,))
    with prepared(host):
        _wait_for_dpkg(host, lock_timeout)
        now = snapshot(host)
        problems: list[str] = []
        if _half_way(host, before):
            query(host, ["dpkg", *dpkg_force(), "--configure", "--pending"])
        strangers = [name for name in {**now.installed, **now.residual} if name not in before.installed]
        purged = [name for name in strangers if name not in before.residual]
        removed = [name for name in strangers if name in before.residual and name in now.installed]
        progress(ProgressEvent("packages", 0, len(purged) + len(removed), "packages", "remove"))
        _dpkg(host, "--purge", purged, problems)
        _dpkg(host, "--remove", removed, problems)
        now = snapshot(host)
        changed = {name: version for name, version in before.installed.items() if now.installed.get(name) != version}
        progress(ProgressEvent("packages", 0, len(changed), "packages", "put back"))
        _put_back(host, changed, lock_timeout, problems)
        _marks(host, before, problems)
    after = snapshot(host)
    problems += _differences(before, after)
    return RollbackReport(
        tuple(sorted(name for name in strangers if name not in after.installed)),
        tuple(sorted(f"{name}={version}" for name, version in changed.items() if after.installed.get(name) == version)),
        tuple(problems),
    )


def _half_way(host: Host, before: Snapshot) -> list[Package]:
    return [package for package in packages(host.root) if package.is_unfinished and package.name in before.installed]


def _dpkg(host: Host, action: str, names: Iterable[str], problems: list[str]) -> None:
    # dpkg and not apt: exactly these go, whatever a solver would like to do about it.
    words = sorted(names)
    if not words:
        return
    force = ["--force-depends", "--force-remove-reinstreq"]
    ended = query(host, ["dpkg", *force, action, *words])
    if ended.status != 0:
        problems.append(f"dpkg {action}: {last_error(ended.stderr)}")


def _put_back(host: Host, changed: dict[str, str], lock_timeout: int, problems: list[str]) -> None:
    if not changed:
        return
    argv = [*apt_options(lock_timeout), "--allow-downgrades", "--allow-change-held-packages", "install", "--"]
    words = [f"{name}={version}" for name, version in sorted(changed.items())]
    if query(host, [*argv, *words]).status == 0:
        return
    for word in words:
        ended = query(host, [*argv, word])
        if ended.status != 0:
            problems.append(f"{word} can't be put back: {last_error(ended.stderr)}")


def _marks(host: Host, before: Snapshot, problems: list[str]) -> None:
    now = snapshot(host)
    if now.marks != before.marks:
        # As it was to the byte: dpkg leaves the marks of what it purges, and they would tell apt tales later.
        place = inside(host.root, EXTENDED_STATES)
        if before.marks is None:
            place.unlink()
        else:
            with atomic_write(place, 0o644) as file:
                file.write(before.marks.encode("utf-8", "surrogateescape"))
    for mark, names in (("hold", before.held - now.held), ("unhold", now.held - before.held)):
        words = sorted(names & now.installed.keys())
        if words:
            ended = query(host, ["apt-mark", "-q", mark, *words])
            if ended.status != 0:
                problems.append(f"apt-mark {mark}: {last_error(ended.stderr)}")


def _differences(before: Snapshot, after: Snapshot) -> list[str]:
    lines = [f"{name} is still installed" for name in sorted(after.installed.keys() - before.installed.keys())]
    for name, version in sorted(before.installed.items()):
        found = after.installed.get(name)
        if found != version:
            lines.append(f"{name} was {version} and is {found or 'not installed'}")
    return lines


def _wait_for_dpkg(host: Host, timeout: float) -> None:
    """Waits until nobody holds dpkg's frontend lock: dpkg itself would fail at once. Raises TklbamError."""
    path = inside(host.root, "var/lib/dpkg/lock-frontend")
    deadline = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise TklbamError(
                        f"dpkg is in use under {host.root}", "Wait until the other program is done, and try again."
                    ) from error
            time.sleep(0.5)
    finally:
        os.close(descriptor)
