"""Which of a backup's packages can be installed here, and what becomes of the others: decided beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..host import Host
from .apt import Simulation, candidates, pinned, query, simulate, unusable_reason
from .apt_hints import Hint, find_hints
from .dpkg import has_dpkg, installed, native_architecture
from .packages import is_machine_package, is_package_name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A package that is not installed, and why, in one line."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What would be done with a list of packages. Every name of the list is in exactly one of the groups.

    `unavailable` maps names to hints about where they went; `would_upgrade` are those that can't be had without
    upgrading or removing something installed; `broken` those that apt can't install at all; `left` is everything,
    where apt can't be used (a notice says why). `automatic` are those of the list that were only there for others.
    `pulled_in` are the packages that come along. Sizes are bytes, 0 where unknown.
    """

    to_install: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()
    unavailable: Mapping[str, tuple[Hint, ...]] = field(default_factory=dict)
    machine: tuple[str, ...] = ()
    would_upgrade: tuple[LeftOut, ...] = ()
    broken: tuple[LeftOut, ...] = ()
    left: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    automatic: frozenset[str] = frozenset()
    pulled_in: tuple[str, ...] = ()
    download_size: int = 0
    installed_size: int = 0

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names, sorted, that are neither installed nor going to be."""
        left_out = [each.name for each in (*self.would_upgrade, *self.broken)]
        return tuple(sorted([*self.unavailable, *self.machine, *left_out, *self.left]))

    def command_lines(self) -> list[str]:
        """The plan as the commands and comments that `newpkgs-install --simulate` prints."""
        lines = []
        if self.to_install:
            lines.append("apt-get install --assume-yes " + " ".join(sorted(self.to_install)))
        if self.skipped:
            lines.append("# SKIPPING: " + " ".join(self.skipped))
        return lines

    def explanations(self) -> list[str]:
        """One line for each package that is left out, and each notice. Those that nobody asked for come last."""
        lines = list(self.notices)
        if self.machine:
            lines.append(f"belong to the machine: {' '.join(self.machine)}")
        for each in self.would_upgrade:
            lines.append(f"{each.name}: left out, {each.reason}")
        for each in self.broken:
            lines.append(f"{each.name}: apt can't install it: {each.reason}")
        for name in sorted(self.unavailable, key=lambda name: (name in self.automatic, name)):
            hints = self.unavailable[name]
            see = f"; see {', '.join(map(str, hints))}" if hints else ""
            lines.append(f"{name}: not available here{see}")
        return lines


def plan_install(host: Host, packages: Iterable[str], automatic: Iterable[str] = ()) -> InstallPlan:
    """Sorts `packages` by what can be done with them here; `automatic` are those that apt had marked so.

    Reads the lists apt has (run `apt.update` first) and simulates; installs nothing.
    """
    wanted = sorted(set(packages))
    marked = frozenset(automatic) & frozenset(wanted)
    reason = None if has_dpkg(host.root) else f"{host.root} is not managed by dpkg: packages are listed and left"
    reason = reason or unusable_reason(host)
    present = installed(host.root) if has_dpkg(host.root) else {}
    here = tuple(name for name in wanted if name in present)
    missing = [name for name in wanted if name not in present]
    machine = tuple(name for name in missing if is_machine_package(name))
    missing = [name for name in missing if name not in machine]
    if reason:
        return InstallPlan(
            installed=here, machine=machine, left=tuple(missing), notices=(reason,) if missing else (), automatic=marked
        )
    with pinned(host) as options:
        offered = candidates(host, filter(is_package_name, missing), options)
        solution = _Solver(host, options).solve([name for name in missing if name in offered])
        sizes = _sizes(host, solution.result.installed)
    unavailable = [name for name in missing if name not in offered]
    return InstallPlan(
        to_install=tuple(solution.accepted),
        installed=here,
        unavailable=_hints(host, unavailable),
        machine=machine,
        would_upgrade=tuple(solution.would_upgrade),
        broken=tuple(solution.broken),
        notices=tuple(solution.notices),
        automatic=marked,
        pulled_in=tuple(sorted(set(solution.result.installed) - set(solution.accepted))),
        download_size=sizes[0],
        installed_size=sizes[1],
    )


@dataclass(slots=True)
class _Solution:
    accepted: list[str] = field(default_factory=list)
    would_upgrade: list[LeftOut] = field(default_factory=list)
    broken: list[LeftOut] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    result: Simulation = field(default_factory=lambda: Simulation({}, (), (), {}))


class _Solver:
    """Finds the packages that apt can install together while nothing installed changes; the others go one by one."""

    def __init__(self, host: Host, options: Sequence[str]) -> None:
        self._host = host
        self._options = options

    def solve(self, names: list[str]) -> _Solution:
        solution = _Solution()
        if not names:
            return solution
        now = simulate(self._host, (), self._options)
        if now.problems:
            words = "; ".join(f"{name} {text}".strip() for name, text in now.problems.items())
            solution.notices.append(f"the installed packages are broken ({words}); `apt-get -f install` may mend them")
            solution.broken.extend(LeftOut(name, "the installed packages are broken") for name in names)
            return solution
        self._add(solution, names)
        solution.accepted.sort()
        return solution

    def _add(self, solution: _Solution, group: list[str]) -> None:
        result = simulate(self._host, [*solution.accepted, *group], self._options)
        if result.is_clean:
            solution.accepted += group
            solution.result = result
        elif len(group) == 1:
            self._reject(solution, group[0], result)
        else:
            # apt names most of those it can't install; where it names none of ours, halve.
            named = [name for name in group if name in result.problems]
            others = [name for name in group if name not in result.problems]
            if named and others:
                self._add(solution, others)
                for name in named:
                    self._add(solution, [name])
            else:
                self._add(solution, group[: len(group) // 2])
                self._add(solution, group[len(group) // 2 :])

    def _reject(self, solution: _Solution, name: str, pinned_result: Simulation) -> None:
        free = simulate(self._host, [*solution.accepted, name])
        if free.problems or free.is_clean:
            problems = free.problems or pinned_result.problems
            reason = problems.get(name) or next(iter(problems.values()), "apt finds no way")
            solution.broken.append(LeftOut(name, reason))
            return
        changes = [f"upgrade {package} ({old} to {new})" for package, old, new in free.upgraded]
        changes += [f"remove {package}" for package in free.removed]
        solution.would_upgrade.append(LeftOut(name, "it would " + ", ".join(changes)))


def _hints(host: Host, unavailable: list[str]) -> dict[str, tuple[Hint, ...]]:
    native = native_architecture(host.root)
    known = set(query(host, ["dpkg", "--print-foreign-architectures"]).stdout.decode().split()) | {native, ""}
    hints = find_hints(host, filter(is_package_name, unavailable))
    for name in unavailable:
        architecture = name.partition(":")[2]
        if not is_package_name(name):
            hints[name] = ()
        elif architecture not in known:
            hints[name] = (Hint(f"dpkg --add-architecture {architecture}", "not enabled here"),)
    return hints


def _sizes(host: Host, versions: Mapping[str, str]) -> tuple[int, int]:
    """(bytes to download, bytes on disk) of packages in given versions."""
    if not versions:
        return 0, 0
    words = [f"{name}={version}" for name, version in versions.items()]
    download = unpacked = 0
    for line in query(host, ["apt-cache", "show", "--no-all-versions", *words]).stdout.split(b"\n"):
        if line.startswith(b"Size: "):
            download += int(line[6:])
        elif line.startswith(b"Installed-Size: "):
            unpacked += int(line[16:]) * 1024  # Installed-Size is in KiB (Debian Policy 5.6.20)
    return download, unpacked
