"""The backup, in order: what changed → extras → archive → record. Read it from `run_backup` down."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from . import __version__
from .api.errors import TklbamError
from .api.files import atomic_write
from .api.models import DatabaseReport, LifecycleEvent
from .api.storage import Target
from .context import Context
from .copies import Copies, StoredSession, Terms, named, open_copies, store_on_all, unverified
from .databases import dump_databases
from .delta.profile import Profile
from .delta.rules import PathRules
from .delta.write import Changes, write_changes
from .engine.interface import Engine, WriteRequest
from .engine.restore_cache import KEPT
from .extract import write_extract
from .extras import BackupConf, extras_digest, footprint, make_extras, settle_times
from .hooks import find_hooks, skip_variables
from .lifecycle import Lifecycle
from .schedule import Interval
from .scratch import scratch_directory
from .system import dpkg
from .system.identity import host_facts
from .system.owned import packages_below
from .system.packages import format_package_list, new_packages
from .system.userdb_io import save_for_backup


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOrder:
    """What the administrator asked for. `addresses` are URLs, for which a Hub gave `credentials` and `renew` gets fresh
    ones;
    `overrides` are path rules and database limits;
    `full_backup` is the age at which a chain is followed by a new full session; `volume_size` is megabytes;
    `keep_full` 0 keeps every chain; `cache_dir` is where restores fetch files to; `extract` is a directory to write the
    backup into as plain files, instead."""

    addresses: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    renew: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False)
    overrides: tuple[str, ...] = ()
    full_backup: Interval = field(default_factory=lambda: Interval.parse("1M"))
    volume_size: int = 25
    uploads: int = 1
    keep_full: int = 0
    skip_files: bool = False
    skip_packages: bool = False
    skip_database: bool = False
    checksum: bool = False
    allow_missing_database: bool = False
    extras_dir: Path | None = None
    cache_dir: Path | None = None
    simulate: bool = False
    extract: Path | None = None
    run_hooks: bool = False


@dataclass(slots=True, kw_only=True)
class BackupSummary:
    """What a backup did. `missing` names what could not be read or stored: with any, the backup is incomplete.

    `files` and `size` (bytes) are the uncompressed footprint, extras included; `changes` counts the delta by kind.
    """

    profile_id: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    files: int = 0
    size: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    new_packages: int = 0
    databases: list[DatabaseReport] = field(default_factory=list)
    stored: list[StoredSession] = field(default_factory=list)
    failed: dict[str, TklbamError] = field(default_factory=dict)
    extras_digest: str = ""
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        return "incomplete" if self.missing else "complete"


def run_backup(order: BackupOrder, profile: Profile, secret: str, context: Context, engine: Engine) -> BackupSummary:
    """Makes one backup and returns what it did. The caller holds the lock of this root.

    Raises a TklbamError where nothing could be stored; what was stored without a part of the system has that part
    named in the summary's `missing`.
    """
    began = time.monotonic()
    summary = BackupSummary(profile_id=profile.profile_id)
    lifecycle = begin(order, profile, context)
    with lifecycle.reporting_failure():
        lifecycle.at("pre")  # which may be what mounts the target
        copies = open_targets(order, context)
        with (
            make_extras(context.host, order.extras_dir, keep=order.simulate) as extras,
            scratch_directory() as scratch,
        ):
            context.note(f"CREATING {extras}")
            conf = first_conf(order, profile, context)
            conf.write(extras)
            overlay = scratch / "overlay"
            changes = find_changes(order, profile, copies, context, extras, overlay, summary)
            if not order.skip_files:
                save_for_backup(context.host, extras / "etc")
            if not order.skip_packages:
                summary.new_packages = list_new_packages(profile, context, extras)
            if not order.skip_database:
                context.plugins.load("databases")  # the targets may not have answered yet
            copies.prove()
            if not order.skip_database:
                conf = add_databases(order, conf, context, extras, summary)
            replace(conf, files=changes.files, size=changes.size).write(extras)
            count_footprint(changes, extras, context, summary)
            lifecycle.at("inspect", extras=extras)
            if order.extract is not None:
                write_extract(context.host.root, overlay, extras, order.extract)
            elif not order.simulate:
                store(order, secret, copies, context, engine, extras, overlay, summary)
        summary.seconds = time.monotonic() - began
        lifecycle.at("post", outcome=summary.outcome)
    return summary


def open_targets(order: BackupOrder, context: Context) -> Copies:
    """The targets. Raises the error when none of them can be written, which some of them take a while to find out."""
    return open_copies(
        order.addresses,
        lambda address: context.target(address, order.credentials, order.renew),
        context,
        write=not order.simulate and order.extract is None,
    )


def begin(order: BackupOrder, profile: Profile, context: Context) -> Lifecycle:
    environment = {"TKLBAM_PROFILE_ID": profile.profile_id, "TKLBAM_BACKUP_EXTRACT_PATH": str(context.host.extras_dir)}
    environment |= skip_variables("backup", order)
    hooks = find_hooks(
        context.host,
        profile=profile.directory,
        environment=environment,
        run_foreign=order.run_hooks,
        warn=context.warn,
    )
    event = LifecycleEvent(
        operation="backup",
        stage="pre",
        root=context.host.root,
        profile_id=profile.profile_id,
        address=" ".join(order.addresses),
        simulate=order.simulate,
    )
    return Lifecycle(context, hooks, event)


def first_conf(order: BackupOrder, profile: Profile, context: Context) -> BackupConf:
    return BackupConf(
        profile_id=profile.profile_id,
        overrides=order.overrides,
        skip_files=order.skip_files,
        skip_packages=order.skip_packages,
        skip_database=order.skip_database,
        version=__version__,
        host=asdict(host_facts(context.host)),
    )


def find_changes(
    order: BackupOrder,
    profile: Profile,
    copies: Copies,
    context: Context,
    extras: Path,
    overlay: Path,
    summary: BackupSummary,
) -> Changes:
    """Scans, writes delta and file list, and notes in the summary what could not be read.

    Ends with an error as soon as no target is left that can be written.
    """
    rules = PathRules() if order.skip_files else profile.rules + PathRules.among(order.overrides)
    changes = write_changes(
        root=context.host.root,
        profile=profile,
        rules=rules,
        skip=own_places(order, copies.targets, context, extras, overlay.parent),
        checksum=order.checksum,
        extras=extras,
        file_list=overlay,
        progress=copies.watched(context.progress),
    )
    warn_of_packaged_paths(order, profile, context, summary)
    summary.changes = changes.counts
    summary.missing += changes.missing
    for warning in changes.warnings:
        warn(summary, context, warning)
    return changes


def warn_of_packaged_paths(order: BackupOrder, profile: Profile, context: Context, summary: BackupSummary) -> None:
    """An override over what packages own would lay old programs over the new release's."""
    added = [
        os.fsencode(word)
        for word in order.overrides
        if word.startswith("/") and not profile.rules.includes(os.fsencode(word))
    ]
    for path, owners in packages_below(context.host.root, added).items():
        named = ", ".join(owners[:3]) + (f" and {len(owners) - 3} more" if len(owners) > 3 else "")
        warn(
            summary,
            context,
            f"{os.fsdecode(path)} holds files of packages ({named}): a restore lays them over the system's own",
        )


def own_places(
    order: BackupOrder, targets: Sequence[Target], context: Context, extras: Path, scratch: Path
) -> frozenset[bytes]:
    """What is never scanned, as paths of the system: our own state, and targets that lie on it."""
    host = context.host
    own = [host.registry_dir, host.rollback_dir, host.restore_cache_dir, host.extras_dir, extras, scratch]
    if order.cache_dir is not None:
        own += [order.cache_dir / "work", order.cache_dir / KEPT]  # restores'; the directory may hold other things
    own += [place for target in targets if (place := target.local_path()) is not None]
    if order.extract is not None:
        own.append(order.extract)
    return frozenset(host.system_paths(own))


def list_new_packages(profile: Profile, context: Context, extras: Path) -> int:
    """Writes the packages that are not in the profile, and which of them apt had marked automatic; counts them."""
    root, base = context.host.root, profile.packages
    if base is None or not dpkg.has_dpkg(root):
        context.note("packages: " + ("the profile says nothing of them" if base is None else "no dpkg here"))
        return 0
    names = new_packages(dpkg.installed(root), base)
    for file_name, content in (("newpkgs", names), ("newpkgs-auto", dpkg.automatic(root).intersection(names))):
        with atomic_write(extras / file_name) as file:
            file.write(format_package_list(content))
    return len(names)


def add_databases(
    order: BackupOrder, conf: BackupConf, context: Context, extras: Path, summary: BackupSummary
) -> BackupConf:
    outcome = dump_databases(context, extras, order.overrides)
    summary.databases = outcome.reports
    for warning in outcome.warnings:
        warn(summary, context, warning)
    for missing in outcome.missing:
        if order.allow_missing_database:
            warn(summary, context, missing)
        else:
            summary.missing.append(missing)
    return replace(conf, databases=outcome.owners)


def count_footprint(changes: Changes, extras: Path, context: Context, summary: BackupSummary) -> None:
    extra_files, extra_size = footprint(extras)
    summary.files, summary.size = changes.files + extra_files, changes.size + extra_size
    context.note(f"FULL UNCOMPRESSED FOOTPRINT: {summary.size / 2**20:.2f} MB in {summary.files} files")


def store(
    order: BackupOrder,
    secret: str,
    copies: Copies,
    context: Context,
    engine: Engine,
    extras: Path,
    overlay: Path,
    summary: BackupSummary,
) -> None:
    """Stores one session on every target; raises the error when none took it."""
    index = settle_times(extras, context.registry.extras_index(context.warn))
    # Before the first target gets any of it: a time that was given is never given to other content again.
    context.registry.write_extras_index(index)
    summary.extras_digest = extras_digest(index)

    def stored(session: StoredSession) -> None:
        result = session.result
        summary.stored.append(session)
        summary.missing += [text for text in result.unread if text not in summary.missing]
        if result.vanished:
            many = len(result.vanished) > 1
            words = "files were gone before they" if many else "file was gone before it"
            context.note(f"{len(result.vanished):,} {words} could be stored")
        if not session.verified:
            summary.missing.append(unverified(session.address))

    summary.failed = copies.failed
    store_on_all(
        copies,
        Terms(secret=secret, full_backup=order.full_backup, keep_full=order.keep_full),
        WriteRequest(
            source=context.host.root,
            extras=extras,
            file_list=overlay,
            full=False,
            secret=secret,
            volume_size=order.volume_size,
            uploads=order.uploads,
            progress=context.progress,
            total_bytes=summary.size,
        ),
        engine,
        context,
        stored,
        lambda text: warn(summary, context, text),
    )
    summary.missing += [named(address, error) for address, error in summary.failed.items()]


def warn(summary: BackupSummary, context: Context, text: str) -> None:
    summary.warnings.append(text)
    context.warn(text)
