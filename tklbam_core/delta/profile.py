"""A profile: the state a system was in when it was installed (docs/formats/profile.md), read, and made of a system."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..api.errors import ProfileError
from ..api.files import atomic_write
from ..api.progress import Progress, ProgressEvent, silent
from ..system.dpkg import installed
from ..system.identity import detect_profile_id
from ..system.packages import format_package_list, read_package_list
from .attributes import ProfileAttributesWriter
from .dirindex import IndexWriter, indexed
from .rules import PathRules
from .scan import ScanReport, Walk

CONF, INDEX, PACKAGES, ID, STAMP, ATTRIBUTES = (
    "dirindex.conf",
    "dirindex",
    "packages",
    "profile_id",
    "stamp",
    "attributes",
)
HOOKS = "hooks.d"
EMPTY_ID = "empty"
CUSTOM_PREFIX = "custom:"
_REMEDY = "Get a new one with `tklbam init --force-profile=…`."


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile directory. Reading one part of it does not touch the others."""

    directory: Path
    profile_id: str
    timestamp: datetime

    @classmethod
    def load(cls, directory: Path) -> Profile:
        """Raises ProfileError where the directory holds no profile, or one with a part missing that it needs."""
        if not any((directory / name).is_file() for name in (CONF, PACKAGES)):
            raise ProfileError(f"{directory} is no profile: it has neither {CONF} nor {PACKAGES}", _REMEDY)
        if (directory / CONF).is_file() and not (directory / INDEX).is_file():
            # Without its index everything that the conf names would look changed.
            raise ProfileError(f"the profile {directory} has no {INDEX}", _REMEDY)
        for name in (ID, STAMP):
            if not (directory / name).is_file():
                raise ProfileError(f"the profile {directory} has no {name}", _REMEDY)
        profile_id = (directory / ID).read_text("utf-8", "surrogateescape").partition("\n")[0].strip()
        if not profile_id:
            raise ProfileError(f"{directory / ID} is empty", _REMEDY)
        return cls(directory, profile_id, stamped(directory))

    @property
    def index(self) -> Path | None:
        """None in a profile that says nothing about files."""
        return file if (file := self.directory / INDEX).is_file() else None

    @property
    def rules(self) -> PathRules:
        """What is scanned: nothing in a profile that says nothing about files. Raises FormatError."""
        file = self.directory / CONF
        return PathRules.from_file(file) if file.is_file() else PathRules()

    @property
    def packages(self) -> list[str] | None:
        """The packages of the installed system, None in a profile that says nothing about them. Raises FormatError."""
        file = self.directory / PACKAGES
        return read_package_list(file) if file.is_file() else None


@dataclass(frozen=True, slots=True)
class Created:
    """What went into a profile that was made: the number of paths and packages, and what the scan met."""

    entries: int
    packages: int
    report: ScanReport = field(default_factory=ScanReport)


def create_profile(
    root: Path,
    conf: bytes,
    out: Path,
    *,
    profile_id: str | None = None,
    packages: bool = True,
    dirindex: bool = True,
    skip: Collection[bytes] = (),
    progress: Progress = silent,
) -> Created:
    """Makes a profile of a pristine system: all that `conf` names below `root` is as installed.

    `out` is an existing directory, whose entries of these names are replaced. `skip` are absolute paths of the system
    that are left out. Without `packages` the profile says nothing about packages, without `dirindex` nothing about
    files. The id is the system's own unless one is given. Raises FormatError for a bad conf, ProfileError for one that
    names nothing, and for a profile of nothing.
    """
    if not packages and not dirindex:
        raise ProfileError("a profile without packages and without an index says nothing", "Leave one of the two in.")
    rules = PathRules.from_text(conf, CONF)
    if dirindex and not rules.has_includes:
        raise ProfileError("the conf names no path to scan", "Write the paths to scan into it, one a line.")
    report = ScanReport()
    entries, names = 0, sorted(installed(root)) if packages else []
    for name in (CONF, INDEX, ATTRIBUTES, PACKAGES):
        (out / name).unlink(missing_ok=True)
    if packages:
        write_packages(out, names)
    if dirindex:
        entries = _index(root, rules, out, skip, report, progress)
        with atomic_write(out / CONF) as file:
            file.write(conf)
    write_identity(out, profile_id or detect_profile_id(root), datetime.now(UTC))
    return Created(entries, len(names), report)


def _index(
    root: Path, rules: PathRules, out: Path, skip: Collection[bytes], report: ScanReport, progress: Progress
) -> int:
    walk = Walk(root, rules.resolve(root), skip=skip, report=report)
    told = Told(progress)
    with IndexWriter(out / INDEX) as index, ProfileAttributesWriter(out / ATTRIBUTES, root) as attributes:
        for entry in indexed(walk, digests=True):
            index.add(entry)
            attributes.add(entry.path)
            told(index.entries, entry.path)
    return index.entries


class Told:
    """Says how far the making of a profile is, at most five times a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._next = 0.0

    def __call__(self, done: int, path: bytes) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.2
            self._progress(ProgressEvent("profile", done, unit="files", item=os.fsdecode(path)))


def write_packages(directory: Path, names: Collection[str]) -> None:
    """Writes a profile's `packages`."""
    with atomic_write(directory / PACKAGES) as file:
        file.write(format_package_list(names))


def write_empty_index(directory: Path, root: Path) -> None:
    """Writes an index and attributes of nothing: then everything is a change."""
    with IndexWriter(directory / INDEX), ProfileAttributesWriter(directory / ATTRIBUTES, root):
        return


def write_identity(directory: Path, profile_id: str, timestamp: datetime) -> None:
    """Writes `profile_id` and `stamp`: the last files of a profile."""
    with atomic_write(directory / ID) as file:
        file.write(profile_id.encode("utf-8", "surrogateescape") + b"\n")
    with atomic_write(directory / STAMP):
        pass
    seconds = int(timestamp.timestamp())
    os.utime(directory / STAMP, (seconds, seconds))


def stamped(directory: Path) -> datetime:
    """The time of a profile, in whole seconds. Raises OSError where there is no stamp."""
    return datetime.fromtimestamp(int((directory / STAMP).stat().st_mtime), UTC)


def check_profile_id(profile_id: str) -> None:
    """Raises ProfileError for an id that can't be the name of a file as it is."""
    if not profile_id or "/" in profile_id or profile_id.startswith(".") or not profile_id.isprintable():
        raise ProfileError(f"{profile_id!r} is no profile id", "An id looks like debian-12 or turnkey-lamp-18.0-amd64.")
