"""The delta on its way into a backup: one pass over the changes writes everything that is made of them."""

from __future__ import annotations

import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..api.progress import Progress, ProgressEvent
from .attributes import ProfileAttributes
from .carry import CarryWriter
from .changes import find_changes
from .escape import quoted
from .fsdelta import DeltaWriter
from .profile import Profile
from .rules import PathRules
from .scan import ScanReport

MOUNTS_NAMED = 10


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a scan found. `files` and `size` (bytes) are the overlay's; `counts` the delta's lines by kind."""

    scan: ScanReport
    files: int = 0
    size: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys("osda", 0))
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def write_changes(
    *,
    root: Path,
    profile: Profile,
    rules: PathRules,
    skip: Collection[bytes],
    checksum: bool,
    extras: Path,
    file_list: Path,
    progress: Progress,
) -> Changes:
    """Scans `root` against the profile and writes the delta and what it carries into `extras`.

    `file_list` becomes the overlay as the archive engine takes it: paths relative to the root, each ended by NUL.
    Memory stays flat in the number of files. Raises FormatError for a damaged profile.
    """
    report = ScanReport()
    attributes = ProfileAttributes.load(profile.directory, root)
    changes = Changes(scan=report)
    with (
        DeltaWriter(extras) as delta,
        CarryWriter(extras, root, attributes) as carry,
        file_list.open("wb") as listed,
    ):
        for change in find_changes(
            root=root,
            index=profile.index,
            rules=rules,
            skip=skip,
            checksum=checksum,
            attributes=attributes.differs,
            report=report,
        ):
            changes.counts[change.kind] += 1
            if change.kind != "a":
                delta.add(change)
            elsewhere = carry.add(change)
            if change.kind == "o":
                changes.files += 1
                changes.size += change.size if stat.S_ISREG(change.mode) else 0
                if not elsewhere:
                    listed.write(change.path.lstrip(b"/") + b"\0")
            progress(ProgressEvent("scan", report.entries, unit="files"))
    changes.missing += [f"{quoted(problem.path)}: {problem.reason}" for problem in report.problems]
    changes.missing += map(str, carry.problems)
    unnamed = report.problem_count - len(report.problems)
    if unnamed:
        changes.missing.append(f"{unnamed} more paths that could not be read")
    for path in report.skipped_mounts[:MOUNTS_NAMED]:
        changes.warnings.append(
            f"{quoted(path)} is another file system and not in the backup; an override takes it (/path) or leaves it "
            "out for good (-/path)"
        )
    if len(report.skipped_mounts) > MOUNTS_NAMED:
        changes.warnings.append(f"and {len(report.skipped_mounts) - MOUNTS_NAMED} more file systems")
    if report.unchecked:
        changes.warnings.append(
            f"{report.unchecked} files could not be compared by content: the profile {profile.profile_id} has no "
            "hashes of them, so a change behind an unchanged size and mtime is not seen"
        )
    return changes
