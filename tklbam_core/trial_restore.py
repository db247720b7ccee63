"""A restore made to see whether it can be: the latest session into an empty root, compared with what it says of itself
and with this system.

The steps are those of `restore.py`, on a root of its own, without hooks, packages and database servers: the dumps are
compared with what was noted when they were stored.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from .api.errors import FormatError, TklbamError
from .api.progress import ProgressEvent
from .context import Context
from .delta.metadata import IdMaps
from .delta.model import Change
from .delta.safepath import Place, SafeRoot, show
from .extras import NEWEST, BackupConf, content_of, extras_digest
from .host import Host
from .registry import Registry
from .restore import RestoreSummary, check_files, merge_users, put_files
from .restore_plan import RestorePlan, make_plan
from .restore_source import ArchiveSource
from .scratch import require_space, workspace
from .sessions import SessionRecord
from .target_records import RestoreTest

BLOCK = 1 << 20
MOST_PROBLEMS = 100
"""Problems that are kept by name; of more only the number is."""


@dataclass(slots=True)
class Tally:
    """What has been found so far. Sizes are bytes."""

    session: datetime | None = None
    files: int = 0
    size: int = 0
    compared: int = 0
    changed: int = 0
    problems: list[str] = field(default_factory=list)

    def ended(self, began: float, outcome: str = "") -> RestoreTest:
        problems = self.problems[:MOST_PROBLEMS]
        if len(self.problems) > len(problems):
            problems.append(f"and {len(self.problems) - len(problems):,} more")
        assert outcome in ("", "failed")
        return RestoreTest(
            time=datetime.now(UTC),
            outcome="failed" if outcome else "incomplete" if problems else "complete",
            session=self.session,
            files=self.files,
            size=self.size,
            compared=self.compared,
            changed=self.changed,
            seconds=round(time.monotonic() - began),
            problems=tuple(problems),
        )


def run_trial_restore(
    source: ArchiveSource, context: Context, cache_dir: Path, limit: Callable[[Path], int] | None = None
) -> RestoreTest:
    """Restores the session of `source` below `cache_dir`, where it takes as much room as the files do, and removes it.

    `limit` is how many bytes it may take there (None: all that is free). The caller holds the lock of this root. What
    keeps it from being restored makes the outcome "failed".
    """
    began, tally = time.monotonic(), Tally()
    try:
        tally.session = source.session.time
        with workspace(cache_dir) as work:
            _restore(source, context, work, limit, tally)
    except (TklbamError, OSError) as error:
        tally.problems.append(error.what if isinstance(error, TklbamError) else str(error))
        return tally.ended(began, "failed")
    return tally.ended(began)


def _restore(
    source: ArchiveSource, context: Context, work: Path, limit: Callable[[Path], int] | None, tally: Tally
) -> None:
    record = _record_of(source, context)
    try:
        extras = source.fetch_extras(work)
    except FormatError:
        _restore_raw(source, work, tally)
        return
    conf = BackupConf.read(extras)
    _compare_extras(extras, conf, record, context, tally)
    if conf.skip_files or not (extras / "fsdelta").exists():
        return
    require_space(work, conf.size, "fetching the backup's files", None if limit is None else limit(work))
    host = _empty_root(work / "root")
    warnings: list[str] = []
    there = replace(context, host=host, registry=Registry(host.registry_dir), warn=warnings.append, note=_silent)
    plan = make_plan(
        extras=extras,
        work=work,
        conf=conf,
        limits=(),
        gone=frozenset() if record is None else frozenset(record.vanished),
        skip_files=False,
        skip_packages=True,
        skip_database=True,
        context=there,
        refresh_packages=False,
    )
    summary = RestoreSummary(plan=plan)
    overlay = source.fetch_overlay(work, None)
    maps = merge_users(extras, overlay, there, plan)
    area = work / "area"
    area.mkdir(0o700)
    named = put_files(plan, extras, overlay, maps, area, there, summary)
    check_files(plan, host.root, named, summary)
    tally.problems += [*summary.missing, *warnings]
    began = source.session.time if record is None else min(source.session.time, record.started)
    _compare_files(plan, maps, named, host.root, began.timestamp(), context, tally)


def _silent(text: str) -> None:
    """Notes of the parts are not for whoever asked for a test."""


def _empty_root(root: Path) -> Host:
    """Not `Host.from_environment`: what moves this system's registry or configuration is not meant for this one."""
    for folder in ("etc", "var/lib/tklbam", "var/backups"):
        (root / folder).mkdir(mode=0o755, parents=True)
    return Host(
        root=root,
        conf_dir=root / "etc/tklbam",
        registry_dir=root / "var/lib/tklbam",
        hooks_dir=root / "etc/tklbam/hooks.d",
    )


def _record_of(source: ArchiveSource, context: Context) -> SessionRecord | None:
    """What is known here of the session; None where it was made elsewhere."""
    records = context.registry.sessions.newest_first(source.target.address)
    return next((record for record in records if record.session == source.session.time), None)


def _restore_raw(source: ArchiveSource, work: Path, tally: Tally) -> None:
    """A session without extras, of an upload as it is: that all of it comes out is what can be shown."""
    place = work / "all"
    place.mkdir(0o700)
    source.fetch_all(place)
    for path in place.rglob("*"):
        if path.is_file() and not path.is_symlink():
            tally.files, tally.size = tally.files + 1, tally.size + path.stat().st_size


def _compare_extras(
    extras: Path, conf: BackupConf, record: SessionRecord | None, context: Context, tally: Tally
) -> None:
    """Metadata and dumps against what was noted of them."""
    found = content_of(extras)
    tally.files += len(found)
    tally.size += sum(path.stat().st_size for path in extras.rglob("*") if path.is_file() and not path.is_symlink())
    for directory, distribution in sorted(conf.databases.items()):
        if not (extras / directory).is_dir():
            tally.problems.append(f"the dumps of {distribution} ({directory}) are not in the archive")
    if record is None or not record.extras_digest or record.extras_digest == extras_digest(found):
        tally.compared += len(found) if record is not None and record.extras_digest else 0
        return
    stored = context.registry.extras_index(lambda _: None)
    if extras_digest(stored) != record.extras_digest:
        tally.problems.append("the metadata and dumps are not those that were stored")
        return
    for name in sorted((set(stored) | set(found)) - {NEWEST}):
        if name not in found:
            tally.problems.append(f"TKLBAM/{name}: not in the archive")
        elif name not in stored or stored[name][0] != found[name][0]:
            tally.problems.append(f"TKLBAM/{name}: other content than was stored")


def _compare_files(
    plan: RestorePlan,
    maps: IdMaps,
    named: frozenset[bytes],
    root: Path,
    before: float,
    context: Context,
    tally: Tally,
) -> None:
    """Every path of the delta that came out, against the delta and against this system, `before` being when the backup
    began (seconds since the epoch)."""
    done = 0
    with SafeRoot(root) as restored, SafeRoot(context.host.root) as live:
        for change in plan.changes or ():
            done += 1
            if done % 1000 == 0:
                context.progress(ProgressEvent("compare", done, unit="files", item=os.fsdecode(change.path)))
            if change.kind == "d" or change.path in named:
                continue
            place = restored.at(change.path)
            status = place.lstat()
            if status is None:
                continue  # named already
            reason = _wrong_owner(change, status, maps)
            if change.kind == "o":
                tally.files += 1
                tally.size += status.st_size if stat.S_ISREG(status.st_mode) else 0
                reason = reason or _compare_with_live(place, status, _live(live, change.path), before, tally)
            if reason:
                tally.problems.append(f"{show(change.path)}: {reason}")


def _wrong_owner(change: Change, status: os.stat_result, maps: IdMaps) -> str:
    if change.kind not in "os" or os.geteuid() != 0:
        return ""
    wanted, found = (maps.uid(change.uid), maps.gid(change.gid)), (status.st_uid, status.st_gid)
    if wanted != found:
        return f"restored with owner {found[0]}:{found[1]}, not {wanted[0]}:{wanted[1]}"
    mode = stat.S_IMODE(change.mode)
    if change.kind == "s" and not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) != mode:
        return f"restored with mode {stat.S_IMODE(status.st_mode):04o}, not {mode:04o}"
    return ""


def _live(live: SafeRoot, path: bytes) -> Place | None:
    try:
        return live.at(path)
    except (OSError, TklbamError):
        return None


def _compare_with_live(place: Place, status: os.stat_result, live: Place | None, before: float, tally: Tally) -> str:
    """What is wrong, or nothing. What has changed on this system since the backup says nothing of it."""
    try:
        here = None if live is None else live.lstat()
        same = here is not None and live is not None and _same(place, status, live, here)
    except OSError:
        here, same = None, False
    if same:
        tally.compared += 1
        return ""
    # A file's ctime can't be set back: what is older than the session is what the session took.
    if here is not None and here.st_ctime < before and stat.S_IFMT(here.st_mode) == stat.S_IFMT(status.st_mode):
        return "not what is here, which has not changed since the backup"
    tally.changed += 1
    return ""


def _same(place: Place, status: os.stat_result, live: Place, here: os.stat_result) -> bool:
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(here.st_mode):
        return False
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(place.name, dir_fd=place.fd) == os.readlink(live.name, dir_fd=live.fd)
    if not stat.S_ISREG(status.st_mode):
        return status.st_rdev == here.st_rdev
    if status.st_size != here.st_size:
        return False
    with os.fdopen(place.open_file(), "rb") as ours, os.fdopen(live.open_file(), "rb") as theirs:
        while True:
            block = ours.read(BLOCK)
            if block != theirs.read(BLOCK):
                return False
            if not block:
                return True
