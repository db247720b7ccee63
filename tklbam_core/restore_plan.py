"""What a restore would do, found out before anything is touched."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .api.errors import UsageError
from .context import Context
from .databases import DatabaseOutcome, restore_databases
from .delta.carry import CarryReader
from .delta.coherent import USER_DATABASES, Delta
from .delta.model import Change
from .delta.rules import PathRule, PathRules
from .delta.safepath import SafeRoot, is_below, show
from .delta.taken import Taken
from .extras import BackupConf
from .host import Host
from .system import apt, userdb_io
from .system.apt_plan import InstallPlan, plan_install
from .system.packages import read_package_list
from .system.rooted import inside
from .system.users import MergeResult, UserDatabase, merge

SHOWN = 20
"""Paths of a kind that are named in a plan."""


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Which paths of a backup a restore takes: the limits' path rules, and never our own state or the user databases
    (those are merged), nor what was `gone` (without the first slash, as a session's record has it) before it could be
    stored."""

    rules: PathRules
    own: tuple[bytes, ...]
    gone: frozenset[str] = frozenset()

    def takes(self, path: bytes) -> bool:
        if not self.rules.includes(path):
            return False
        if path in USER_DATABASES or any(is_below(path, place) or path == place for place in self.own):
            return False
        return not self.gone or path[1:].decode("utf-8", "backslashreplace") not in self.gone


@dataclass(slots=True, kw_only=True)
class RestorePlan:
    """The plan. Counts are of paths that the restore takes: `overlay` files to put in place, of which `replaced` are
    here already; `stats` owners and modes to set; `deletes`. `swapped` names directories that a file would replace.

    `changes` are those that the restore takes, in order, None where files are skipped or the backup has none. `needed`
    is bytes of disk that the fetched files take, 0 where the backup does not say: it says nothing of parts of it.
    """

    conf: BackupConf
    filter: PathFilter
    changes: Taken | None = None
    overlay: int = 0
    stats: int = 0
    deletes: int = 0
    replaced: int = 0
    swapped: list[bytes] = field(default_factory=list)
    users: MergeResult | None = None
    packages: InstallPlan | None = None
    databases: DatabaseOutcome = field(default_factory=DatabaseOutcome)
    needed: int = 0
    warnings: list[str] = field(default_factory=list)

    def fetched(self, extras: Path) -> tuple[bytes, ...] | None:
        """Paths of the overlay, maybe with globs, that are needed with what is below them, None for all of it."""
        named = self.filter.rules.named if self.overlay else ()
        if named is None or not (extras / "etc/passwd").exists() or (extras / "etc/shadow").exists():
            return named
        return (*named, *sorted(USER_DATABASES))  # a classic backup has some of these in its overlay


def make_plan(
    *,
    extras: Path,
    work: Path,
    conf: BackupConf,
    limits: Sequence[str],
    gone: frozenset[str] = frozenset(),
    skip_files: bool,
    skip_packages: bool,
    skip_database: bool,
    context: Context,
    refresh_packages: bool,
) -> RestorePlan:
    """Reads the extras and this system; changes nothing (but apt's lists, with `refresh_packages`). In `work` it keeps
    what it found for the steps that follow.

    Raises FormatError and UnsafePathError for a delta that can't be trusted, UsageError for a root that is no system's.
    """
    host = context.host
    plan = RestorePlan(conf=conf, filter=path_filter(host, limits, gone))
    if not skip_files and (extras / "fsdelta").exists():
        if not (host.root / "etc").is_dir():
            raise UsageError(
                f"{host.root} holds no system to restore onto: it has no /etc",
                "Name a system's root; `restore --raw-download DIR` fetches a backup as plain files.",
            )
        delta = Delta(extras / "fsdelta", CarryReader(extras))
        # Of a large delta limits take little, and the first bytes of a path settle most of it.
        bounds = plan.filter.rules.bounds
        near = (b"/",) if bounds is None else bounds
        taken = (change for change in delta if change.path.startswith(near) and plan.filter.takes(change.path))
        plan.changes = Taken(work / "changes", taken)
        count_paths(plan, host.root)
        plan.warnings += [
            f"limit {show(rule.path)}: the backup has no change there; check its spelling (no link is followed to it)"
            for rule in without_changes(plan.filter.rules, plan.changes)[:SHOWN]
        ]
        plan.needed = conf.size if plan.fetched(extras) is None else 0
        old = read_backup_users(extras, None)
        plan.users = merge(old, userdb_io.read_host(host)) if old is not None else None
    if not skip_packages and (extras / "newpkgs").exists():
        if refresh_packages and apt.unusable_reason(host) is None:
            plan.warnings += apt.update(host)
        automatic = extras / "newpkgs-auto"
        plan.packages = plan_install(
            host,
            read_package_list(extras / "newpkgs"),
            read_package_list(automatic) if automatic.exists() else (),
        )
    if not skip_database:
        plan.databases = restore_databases(context, extras, limits, rollback=None, simulate=True)
    return plan


def path_filter(host: Host, limits: Sequence[str], gone: frozenset[str]) -> PathFilter:
    own = [host.registry_dir, host.rollback_dir, host.restore_cache_dir, host.extras_dir]
    return PathFilter(PathRules.among(limits), host.system_paths(own), gone)


def count_paths(plan: RestorePlan, root: Path) -> None:
    with SafeRoot(root) as safe:
        for change in plan.changes or ():
            # Asked of every path: a parent that leads out of the root stops the restore before it has begun.
            mode = mode_of(safe, change.path)
            if change.kind == "d":
                plan.deletes += 1
            elif change.kind in "sa":
                plan.stats += 1
            else:
                plan.overlay += 1
                plan.replaced += mode is not None
                if mode is not None and stat.S_ISDIR(mode) and len(plan.swapped) < SHOWN:
                    plan.swapped.append(change.path)


def without_changes(rules: PathRules, changes: Iterable[Change]) -> list[PathRule]:
    """The includes for which none of these changes was taken."""
    waiting = [(rule, PathRules([rule])) for rule in rules.rules if rule.include]
    for change in changes:
        if not waiting:
            break
        waiting = [(rule, alone) for rule, alone in waiting if not alone.includes(change.path)]
    return [rule for rule, _ in waiting]


def mode_of(root: SafeRoot, path: bytes) -> int | None:
    """The st_mode of a path of the system, None where nothing is. Raises UnsafePathError."""
    try:
        status = root.at(path).lstat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return None
    return None if status is None else status.st_mode


def read_backup_users(extras: Path, overlay: Path | None) -> UserDatabase | None:
    """The backup's accounts, None where it holds none.

    A classic backup has passwd and group among its extras, and shadow and gshadow in its overlay.
    """
    etc = inside(extras, "etc")
    if not (etc / "passwd").exists():
        return None
    old = userdb_io.read(etc, "the backup")
    if overlay is not None and old.shadow is None:
        beside = userdb_io.read(inside(overlay, "etc"), "the backup")
        old = replace(old, shadow=beside.shadow, gshadow=beside.gshadow)
    return old
