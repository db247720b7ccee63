"""The restore, in order: extras → plan → overlay → rollback area → packages → users → files → databases → check.

Read it from `run_restore` down. What can't be undone by leaving off is announced in the journal first (journal.py),
so that `rollback.py` undoes a restore that ended at any point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .api.errors import TklbamError
from .api.files import atomic_write
from .api.models import LifecycleEvent
from .context import Context
from .databases import DatabaseOutcome, restore_databases
from .delta.apply import delete, fix_stats
from .delta.carry import CarryReader
from .delta.metadata import IdMaps
from .delta.place import Overlay, place_overlay
from .delta.safepath import SafeRoot, show
from .delta.saved import SavedFiles, space_needed
from .extras import BackupConf, unowned_dumps
from .hooks import Hooks, find_hooks, skip_variables
from .journal import Journal
from .lifecycle import Lifecycle
from .restore_plan import RestorePlan, make_plan, mode_of, read_backup_users
from .restore_source import Source
from .rollback import discard, run_rollback
from .scratch import require_space, workspace
from .system import apt_install, apt_rollback, userdb_io, userdb_snapshot
from .system.users import MergeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder:
    """What the administrator asked for. `limits` are path rules and database limits; with `rollback` False nothing is
    kept to undo the restore with once it has succeeded; `approve` is shown the plan and raises to stop; `cache_dir` is
    where files are fetched to, and `cache_limit` how many bytes they may take there (None: all that is free)."""

    limits: tuple[str, ...] = ()
    skip_files: bool = False
    skip_packages: bool = False
    skip_database: bool = False
    rollback: bool = True
    simulate: bool = False
    force: bool = False
    run_hooks: bool = False
    cache_dir: Path
    cache_limit: Callable[[Path], int] | None = None
    approve: Callable[[RestorePlan], None]


@dataclass(slots=True, kw_only=True)
class RestoreSummary:
    """What a restore did. With anything in `missing` it is incomplete."""

    plan: RestorePlan
    simulated: bool = False
    placed: int = 0
    fixed: int = 0
    deleted: int = 0
    installed: tuple[str, ...] = ()
    databases: DatabaseOutcome = field(default_factory=DatabaseOutcome)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        return "incomplete" if self.missing else "complete"


def run_restore(order: RestoreOrder, source: Source, profile_id: str, context: Context) -> RestoreSummary:
    """Restores a backup. The caller holds the lock of this root.

    Raises a TklbamError when it could not be done; by then everything is as it was, or the error says what is not.
    """
    began = time.monotonic()
    refuse_unfinished(order, context)
    with workspace(order.cache_dir) as work:
        extras = source.fetch_extras(work)
        conf = BackupConf.read(extras)
        hooks = fixed_hooks(order, conf, profile_id, context)
        plan = make_plan(
            extras=extras,
            work=work,
            conf=conf,
            limits=order.limits,
            skip_files=order.skip_files,
            skip_packages=order.skip_packages,
            skip_database=order.skip_database,
            context=context,
            refresh_packages=not order.simulate,
        )
        summary = RestoreSummary(plan=plan, simulated=order.simulate)
        order.approve(plan)
        check_space(order, plan, work, context)
        if order.simulate:
            return summary
        lifecycle = Lifecycle(context, hooks, event(order, source, conf, context))
        with lifecycle.reporting_failure():
            lifecycle.at("pre")
            room = None if order.cache_limit is None else order.cache_limit(work)
            overlay = None if plan.changes is None else source.fetch_overlay(work, plan.fetched(extras), room)
            lifecycle.at("inspect", extras=extras)
            with undone_on_failure(order, context) as area:
                change_system(order, plan, extras, overlay, area, context, summary)
            lifecycle.at("post", outcome=summary.outcome)
    summary.seconds = time.monotonic() - began
    return summary


def change_system(
    order: RestoreOrder,
    plan: RestorePlan,
    extras: Path,
    overlay: Path | None,
    area: Path,
    context: Context,
    summary: RestoreSummary,
) -> None:
    """Everything that changes the system, each step announced in the journal of `area` before it begins."""
    journal = Journal(area)
    named: frozenset[bytes] = frozenset()
    save_state(plan, area, context)
    journal.write("saved")
    if plan.packages is not None and plan.packages.to_install:
        journal.write("packages")
        install_packages(plan, context, summary)
    if overlay is not None:
        journal.write("users")
        maps = merge_users(extras, overlay, context, plan)
        journal.write("overlay")
        named = put_files(plan, extras, overlay, maps, area, context, summary)
    if not order.skip_database:
        journal.write("databases")
        put_databases(order, extras, area, context, summary)
    check_files(plan, context.host.root, named, summary)
    journal.write("done")


def refuse_unfinished(order: RestoreOrder, context: Context) -> None:
    """A restore that was killed must be rolled back first: its rollback area is the only way back."""
    area = context.host.rollback_dir
    if order.simulate or order.force or not area.is_dir():
        return
    if "saved" in (steps := Journal(area).steps()) and "done" not in steps:
        raise TklbamError(
            "an earlier restore did not end",
            "Run `tklbam restore-rollback` to undo it, or restore with --force to give up what it had saved.",
        )


def fixed_hooks(order: RestoreOrder, conf: BackupConf, profile_id: str, context: Context) -> Hooks:
    """The hooks as they are now: what the restore puts into hooks.d does not run during it."""
    environment = {"TKLBAM_PROFILE_ID": profile_id, "TKLBAM_RESTORE_PROFILE_ID": conf.profile_id}
    environment |= skip_variables("restore", order)
    return find_hooks(
        context.host,
        profile=context.registry.profile_dir,
        environment=environment,
        run_foreign=order.run_hooks,
        warn=context.warn,
    )


def event(order: RestoreOrder, source: Source, conf: BackupConf, context: Context) -> LifecycleEvent:
    return LifecycleEvent(
        operation="restore",
        stage="pre",
        root=context.host.root,
        profile_id=conf.profile_id,
        address=source.name,
        simulate=order.simulate,
    )


def check_space(order: RestoreOrder, plan: RestorePlan, work: Path, context: Context) -> None:
    """Raises SpaceError when the fetched files, or what would be saved, have no room."""
    if plan.changes is None:
        return
    host = context.host
    limit = None if order.cache_limit is None else order.cache_limit(work)
    require_space(work, plan.needed, "fetching the backup's files", limit)
    area = next(place for place in (host.rollback_dir, *host.rollback_dir.parents) if place.exists())
    device = area.stat().st_dev
    saved = space_needed(plan.changes, host.root, device)
    fetched = plan.needed if work.stat().st_dev == device else 0
    require_space(area, saved + fetched, "saving what the restore replaces", remedy="Make room there.")


@contextmanager
def undone_on_failure(order: RestoreOrder, context: Context) -> Iterator[Path]:
    """A new rollback area; what the block did is undone when it raises.

    The area of an earlier restore is dropped: only the last one can be undone.
    """
    area = context.host.rollback_dir
    discard(area)
    area.mkdir(mode=0o700, parents=True)
    try:
        yield area
    except BaseException as error:
        what = error.what if isinstance(error, TklbamError) else str(error) or type(error).__name__
        context.warn(f"the restore failed ({what}); undoing it")
        undo_failed_restore(context)
        raise
    if not order.rollback:
        discard(area)


def undo_failed_restore(context: Context) -> None:
    remedy = f"What was saved is in {context.host.rollback_dir}; run `tklbam restore-rollback`: it goes on from here."
    try:
        undone = run_rollback(context)
    except Exception as error:
        what = error.what if isinstance(error, TklbamError) else str(error) or type(error).__name__
        raise TklbamError(f"the restore failed and could not be undone: {what}", remedy) from error
    if undone.missing:
        raise TklbamError("the restore failed and was not undone in full: " + "; ".join(undone.missing), remedy)


def save_state(plan: RestorePlan, area: Path, context: Context) -> None:
    """Saves what is at every path of the plan, the user databases and the set of packages."""
    SavedFiles(area / "files", context.host.root).save(plan.changes or ())
    userdb_snapshot.snapshot(context.host, area / "users")
    if plan.packages is not None:
        with atomic_write(area / "packages.json") as file:
            file.write(apt_rollback.snapshot(context.host).to_json())


def install_packages(plan: RestorePlan, context: Context, summary: RestoreSummary) -> None:
    assert plan.packages is not None
    report = apt_install.install(context.host, plan.packages, context.progress)
    summary.installed = report.installed
    summary.missing += [f"package {each.name}: {each.reason}" for each in report.failed]
    summary.warnings += report.warnings


@dataclass(frozen=True, slots=True)
class MergedIds(IdMaps):
    """Ids mapped as the merge of the user databases says, ranges of subordinate ids included."""

    merged: MergeResult | None = None

    def uid(self, old: int) -> int:
        return old if self.merged is None else self.merged.map_uid(old)

    def gid(self, old: int) -> int:
        return old if self.merged is None else self.merged.map_gid(old)


def merge_users(extras: Path, overlay: Path, context: Context, plan: RestorePlan) -> IdMaps:
    """Merges again, for installing packages may have made accounts since the plan; returns how ids are mapped."""
    old = read_backup_users(extras, overlay)
    if old is None:
        return IdMaps()
    plan.users = userdb_io.apply(context.host, old)
    return MergedIds(merged=plan.users)


def put_files(
    plan: RestorePlan,
    extras: Path,
    overlay: Path,
    maps: IdMaps,
    area: Path,
    context: Context,
    summary: RestoreSummary,
) -> frozenset[bytes]:
    """Overlay, then owners, modes and attributes, then deletions; returns the paths that a problem names."""
    assert plan.changes is not None
    root = context.host.root
    carry = CarryReader(extras)
    saved = SavedFiles(area / "files", root)
    placed = place_overlay(
        Overlay(staging=overlay, carry=carry),
        root,
        plan.changes,
        maps=maps,
        saved=saved,
        progress=context.progress,
    )
    fixed = fix_stats(plan.changes, root, maps=maps, carry=carry)
    deleted = delete(plan.changes, root)
    summary.placed, summary.fixed, summary.deleted = placed.done, fixed.done, deleted.done
    problems = [*placed.problems, *fixed.problems, *deleted.problems]
    summary.missing += map(str, problems)
    return frozenset(problem.path for problem in problems)


def put_databases(order: RestoreOrder, extras: Path, area: Path, context: Context, summary: RestoreSummary) -> None:
    """Restores the databases; names those that no installed plugin can restore."""
    summary.databases = restore_databases(
        context, extras, order.limits, rollback=area / "databases" if order.rollback else None, simulate=False
    )
    summary.missing += summary.databases.missing
    summary.warnings += summary.databases.warnings
    installed = {plugin.distribution for plugin in context.plugins.load("databases")}
    for directory, distribution in unowned_dumps(extras, summary.plan.conf, installed):
        summary.missing.append(f"the databases in {directory} were not restored: install {distribution}")


def check_files(plan: RestorePlan, root: Path, named: frozenset[bytes], summary: RestoreSummary) -> None:
    """Looks once more at every path of the plan: there when it should be, gone when it should be. The paths in `named`
    have been reported already."""
    with SafeRoot(root) as safe:
        for change in plan.changes or ():
            here = mode_of(safe, change.path) is not None
            if here == (change.kind == "d") and change.kind in "od" and change.path not in named:
                summary.missing.append(f"{show(change.path)}: {'still' if here else 'not'} here after the restore")
