"""The rollback, in order: databases → packages → files → users. It undoes a restore that ended at any point.

Each step can be repeated: a rollback that was itself killed is run again and goes on.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .api.errors import TklbamError
from .api.models import LifecycleEvent
from .context import Context
from .databases import roll_back_databases
from .delta.saved import SavedFiles
from .hooks import Hooks
from .host import Host
from .journal import Journal
from .lifecycle import Lifecycle
from .system import apt_rollback, userdb_io, userdb_snapshot
from .system.unfinished import clear_unfinished


@dataclass(slots=True, kw_only=True)
class RollbackSummary:
    """What was put back. With anything in `missing` the rollback area is kept, and the rollback can be run again.

    `kept` is where things lie that others put into the restore's directories since, None where nobody did.
    """

    steps: list[str] = field(default_factory=list)
    files: int = 0
    files_removed: int = 0
    packages_removed: list[str] = field(default_factory=list)
    packages_restored: list[str] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    kept: Path | None = None


def restore_to_undo(host: Host) -> datetime:
    """When the restore was made that a rollback would undo. Raises TklbamError when there is none."""
    area = host.rollback_dir
    if not area.is_dir():
        raise TklbamError("there is no restore to roll back", f"{area} does not exist: nothing was restored here.")
    return datetime.fromtimestamp(area.stat().st_mtime, UTC)


def run_rollback(context: Context) -> RollbackSummary:
    """Undoes the last restore. The caller holds the lock of this root. Raises TklbamError when there is none."""
    host, area = context.host, context.host.rollback_dir
    restore_to_undo(host)
    steps = Journal(area).steps()
    summary = RollbackSummary(steps=list(steps))
    lifecycle = Lifecycle(
        context,
        Hooks(executables=()),
        LifecycleEvent(operation="rollback", stage="pre", root=host.root),
    )
    with lifecycle.reporting_failure():
        lifecycle.at("pre")
        if "saved" in steps:  # before that, the restore had changed nothing
            if "databases" in steps:
                put_back_databases(context, area, summary)
            # Packages go before files: a package's removal may take along files that were here before it.
            if "packages" in steps:
                put_back_packages(context, area, summary)
            if "overlay" in steps or "packages" in steps:
                put_back_files(host.root, area, summary)
            userdb_snapshot.put_back(host, area / "users")
        else:  # at most it took locks; who else holds one is not waited for
            userdb_io.clear_left_locks(host)
        clear_unfinished(host)
        summary.kept = keep_what_others_put(area)
        if not summary.missing:
            discard(area)
        lifecycle.at("post", outcome="incomplete" if summary.missing else "complete")
    return summary


def put_back_databases(context: Context, area: Path, summary: RollbackSummary) -> None:
    outcome = roll_back_databases(context, area / "databases")
    summary.missing += outcome.missing
    summary.databases += [
        f"{report.engine}:{database.name}" for report in outcome.reports for database in report.databases
    ]


def put_back_packages(context: Context, area: Path, summary: RollbackSummary) -> None:
    before = apt_rollback.Snapshot.from_json((area / "packages.json").read_bytes(), area / "packages.json")
    report = apt_rollback.rollback(context.host, before, context.progress)
    summary.packages_removed += report.removed
    summary.packages_restored += report.restored
    summary.missing += report.problems


def put_back_files(root: Path, area: Path, summary: RollbackSummary) -> None:
    report = SavedFiles(area / "files", root).restore()
    summary.files, summary.files_removed = report.done, report.removed
    summary.missing += map(str, report.problems)


def keep_what_others_put(area: Path) -> Path | None:
    """What others had put where the restore had made a directory moves out of the area, which is about to go."""
    left = area / "files/left"
    if not left.is_dir() or not any(left.iterdir()):
        return None
    place = area.with_name(f"tklbam-left-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    os.rename(left, place)
    return place


def discard(area: Path) -> None:
    """Removes a rollback area in one step as others see it: it is renamed away first."""
    if not area.is_dir():
        return
    aside = area.with_name(f".{area.name}-{secrets.token_hex(4)}")
    os.rename(area, aside)
    shutil.rmtree(aside)
