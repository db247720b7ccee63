"""Packages really installed, as many of the plan as will go: one that fails is taken back, and the rest goes on."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..api.errors import TklbamError
from ..api.process import Completed, start
from ..api.progress import Progress, ProgressEvent, silent
from ..host import Host
from .apt import LOCK_TIMEOUT, check_space, is_locked, last_error, pinned, query
from .apt_plan import InstallPlan, LeftOut
from .chroot import command, environment, prepared
from .dpkg import installed, unfinished

_NETWORK_DOWN = re.compile(
    r"Could not resolve|Could not connect|Unable to connect|Network is unreachable|Temporary failure resolving"
)
_DPKG_OPTIONS = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")


@dataclass(frozen=True, slots=True)
class InstallReport:
    """What `install` did: names of the plan that are installed now, and those that failed, with the reason."""

    installed: tuple[str, ...] = ()
    failed: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Attempt:
    status: int
    output: str
    failures: dict[str, str] = field(default_factory=dict)


def install(
    host: Host, plan: InstallPlan, progress: Progress = silent, *, lock_timeout: int = LOCK_TIMEOUT
) -> InstallReport:
    """Installs `plan.to_install` and what it needs; upgrades and removes nothing; keeps configuration that is there.

    Progress comes as phase "packages" in per cent of the step at hand. Where a group fails, what dpkg left half-way is
    purged again (unless it was there before) and the rest is tried without it. Marks the plan's `automatic` ones so.
    Raises SpaceError when the disk is full, TklbamError when dpkg's lock can't be had in `lock_timeout` seconds or
    this is not root.
    """
    if not plan.to_install:
        return InstallReport()
    if os.geteuid() != 0:
        raise TklbamError("installing packages needs root", "Run this as root, or restore with --skip-packages.")
    with prepared(host), pinned(host) as options:
        run = _Run(host, [*apt_options(lock_timeout), *options], progress)
        run.install(list(plan.to_install))
        present = installed(host.root)
        done = [name for name in plan.to_install if name in present]
        automatic = [name for name in done if name in plan.automatic]
        if automatic:
            run.note(query(host, ["apt-mark", "-q", "auto", *automatic]), "apt-mark auto")
    failed = [LeftOut(name, run.reasons.get(name, "not installed")) for name in plan.to_install if name not in present]
    return InstallReport(tuple(done), tuple(failed), tuple(run.warnings))


def apt_options(lock_timeout: int) -> list[str]:
    """apt-get's options for work that nobody watches: no questions, no terminal, locks waited for (seconds)."""
    return [
        "apt-get",
        "-q",
        "--assume-yes",
        *("-o", f"DPkg::Lock::Timeout={lock_timeout}", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"),
        *_DPKG_OPTIONS,
    ]


class _Run:
    def __init__(self, host: Host, apt: Sequence[str], progress: Progress) -> None:
        self._host = host
        self._apt = apt
        self._progress = progress
        self._unfinished_before = {package.name for package in unfinished(host.root)}
        self._installed_before = set(installed(host.root))
        self.reasons: dict[str, str] = {}
        self.warnings: list[str] = []

    def install(self, names: list[str]) -> None:
        groups = [names]
        while groups:
            group = groups.pop()
            attempt = self._attempt(group)
            if attempt.status == 0:
                continue
            self._take_back()
            check_space(self._host, attempt.output)
            present = installed(self._host.root)
            rest = [name for name in group if name not in present]
            if not rest:
                self.warnings.append(f"apt-get: {last_error(attempt.output)}")
            elif _NETWORK_DOWN.search(attempt.output):
                reason = last_error(attempt.output)
                self.reasons |= {name: reason for each in [rest, *groups] for name in each}
                return
            elif len(rest) == 1 and len(group) == 1:
                self.reasons[rest[0]] = attempt.failures.get(rest[0]) or last_error(attempt.output)
            else:
                groups += self._split(rest, attempt)

    def _split(self, rest: list[str], attempt: _Attempt) -> list[list[str]]:
        blamed = [name for name in rest if name in attempt.failures]
        others = [name for name in rest if name not in attempt.failures]
        if blamed and others:
            return [*([name] for name in blamed), others]
        middle = (len(rest) + 1) // 2
        return [half for half in (rest[middle:], rest[:middle]) if half]

    def _attempt(self, names: list[str]) -> _Attempt:
        argv = [*self._apt, "install", "--", *names]
        with tempfile.TemporaryFile() as output, _status_events(self._progress) as (write_end, failures):
            status, stderr = 0, ""
            argv[1:1] = ["-o", f"APT::Status-Fd={write_end}"]
            try:
                with start(
                    command(self._host, list(argv)),
                    env=environment(self._host),
                    stdout=output,
                    pass_fds=[write_end],
                ) as process:
                    status = process.wait(check=False)
                    stderr = process.stderr_tail
            except TklbamError:
                if status == 0:
                    raise
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        if status != 0 and is_locked(stderr):
            raise TklbamError(f"dpkg is in use: {last_error(stderr)}", "Wait until the other program is done.")
        return _Attempt(status, f"{stderr}\n{text}" if status != 0 else "", failures)

    def _take_back(self) -> None:
        """Finishes or purges what a failed attempt left half-way, so that the next one starts from a sound state."""
        if not self._left_behind():
            return
        query(self._host, ["dpkg", *dpkg_force(), "--configure", "--pending"])
        broken = self._left_behind()
        if not broken:
            return
        force = ["--force-remove-reinstreq", "--force-depends"]
        ended = query(self._host, ["dpkg", *force, "--purge", *broken])
        for name in self._left_behind():
            self.warnings.append(f"{name} is left half-installed: {last_error(ended.stderr)}")

    def _left_behind(self) -> list[str]:
        known = self._unfinished_before | self._installed_before
        return [package.name for package in unfinished(self._host.root) if package.name not in known]

    def note(self, ended: Completed, what: str) -> None:
        if ended.status != 0:
            self.warnings.append(f"{what}: {last_error(ended.stderr)}")


def dpkg_force() -> list[str]:
    """dpkg's options for configuration files: the administrator's version stays, without a question."""
    return ["--force-confdef", "--force-confold"]


@contextlib.contextmanager
def _status_events(progress: Progress) -> Iterator[tuple[int, dict[str, str]]]:
    """(descriptor for APT::Status-Fd, package → error that dpkg reported). Source: apt's README.progress-reporting."""
    read_end, write_end = os.pipe()
    failures: dict[str, str] = {}

    def follow() -> None:
        with os.fdopen(read_end, "rb") as pipe:
            for line in pipe:
                kind, _, rest = line.decode("utf-8", "replace").rstrip("\n").partition(":")
                words = rest.split(":", 2)
                if len(words) != 3:
                    continue
                if kind == "pmerror":
                    failures[os.path.basename(words[0]).split("_")[0]] = words[2].strip()
                elif kind in ("dlstatus", "pmstatus"):
                    percent = int(float(words[1] or 0))
                    progress(ProgressEvent("packages", percent, 100, "%", words[2].strip()))

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        yield write_end, failures
    finally:
        os.close(write_end)
        # A service that a maintainer script started may hold the other end open for ever.
        reader.join(timeout=2)
