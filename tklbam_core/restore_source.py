"""Where a restore takes a backup from: an archive on a target, or an extract in a directory."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

from .api.errors import FormatError, UnsafePathError
from .api.progress import Progress, silent
from .api.storage import Target
from .delta.rules import PathRule, PathRules
from .delta.safepath import show
from .engine.interface import Engine, FetchRequest, NotInArchiveError, Session
from .extract import copy_parts, copy_tree
from .extras import CONF, BackupConf


class Source(Protocol):
    """A backup to restore."""

    @property
    def name(self) -> str:
        """Where it is, for people."""
        ...

    @property
    def session_time(self) -> datetime | None:
        """The time of the session that is restored; None where the source does not say."""
        ...

    def fetch_extras(self, work: Path) -> Path:
        """Fetches the extras alone; returns their directory."""
        ...

    def fetch_overlay(self, work: Path, within: Sequence[bytes] | None, room: int | None = None) -> Path:
        """Fetches the changed files into a tree that the restore may move files out of; returns it. `within` are the
        absolute paths, maybe with globs, at or below which lies all that is needed, None for everything; they may take
        `room` bytes there (None: any number). Raises SpaceError."""
        ...

    def fetch_all(self, destination: Path) -> None:
        """Fetches everything as it is into an empty directory."""
        ...


def refuse_strange(extras: Path) -> None:
    """Raises UnsafePathError where what is read of a backup may lead to this machine's own files, or never end."""
    top = os.path.realpath(extras)
    below = (os.path.join(place, name) for place, inner, names in os.walk(extras) for name in [*inner, *names])
    for path in itertools.chain([str(extras)], below):
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode) and path != str(extras) and os.path.realpath(path).startswith(f"{top}/"):
            continue
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            what = "a link that leads out of it" if stat.S_ISLNK(mode) else "neither a file nor a directory"
            raise UnsafePathError(
                f"{show(os.fsencode(os.path.relpath(path, extras.parent)))} of the backup is {what}",
                "No backup has that there: do not trust it. `restore --raw-download DIR` fetches it, to be looked at.",
            )


@dataclass(frozen=True, kw_only=True)
class ArchiveSource:
    """The session at `time` (None: the latest) on a target: the one there when first asked for, to the end.

    With `fresh` all of it comes from the target, and nothing from a cache.
    """

    engine: Engine
    target: Target
    secret: str = field(repr=False)
    time: datetime | None = None
    progress: Progress = silent
    fresh: bool = False

    @property
    def name(self) -> str:
        return self.target.address

    @cached_property
    def session(self) -> Session:
        """Raises TargetError, EngineError where there is none."""
        return self.engine.session_at(self.target, self.time)

    @property
    def session_time(self) -> datetime | None:
        return self.session.time

    def fetch_extras(self, work: Path) -> Path:
        extras = work / "extras"
        extras.mkdir(mode=0o700)
        with contextlib.suppress(NotInArchiveError):
            self._fetch(extras, "TKLBAM")
        if not (extras / CONF).exists():
            raise FormatError(
                self.target.address,
                None,
                "the sessions there hold no TKLBAM directory",
                "It was not made by a backup; `restore --raw-download DIR` fetches it as it is.",
            )
        refuse_strange(extras)
        return extras

    def fetch_overlay(self, work: Path, within: Sequence[bytes] | None, room: int | None = None) -> Path:
        overlay = work / "overlay"
        overlay.mkdir(mode=0o700)
        if within is None or within:
            self._fetch(overlay, None, within, room, BackupConf.read(work / "extras").size)
        shutil.rmtree(overlay / "TKLBAM", ignore_errors=True)
        return overlay

    def fetch_all(self, destination: Path) -> None:
        self._fetch(destination, None)

    def _fetch(
        self,
        destination: Path,
        path: str | None,
        within: Sequence[bytes] | None = None,
        room: int | None = None,
        whole: int = 0,
    ) -> None:
        self.engine.fetch(
            self.target,
            FetchRequest(
                destination=destination,
                path=path,
                within=None if within is None else tuple(os.fsdecode(each.lstrip(b"/")) for each in within),
                room=room,
                whole=whole,
                time=self.session.time,  # a session stored meanwhile would not go with the extras
                secret=self.secret,
                progress=self.progress,
                fresh=self.fresh,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSource:
    """A directory that holds `TKLBAM/` and the overlay: what `backup --dump` writes. It stays as it is."""

    directory: Path

    @property
    def name(self) -> str:
        return str(self.directory)

    @property
    def session_time(self) -> datetime | None:
        return None

    def fetch_extras(self, work: Path) -> Path:
        extras = self.directory / "TKLBAM"
        if not (extras / CONF).exists():
            raise FormatError(
                self.directory,
                None,
                "the directory holds no TKLBAM/backup-conf",
                "Name the directory that `backup --dump` or `restore --raw-download` wrote.",
            )
        refuse_strange(extras)
        return extras

    def fetch_overlay(self, work: Path, within: Sequence[bytes] | None, room: int | None = None) -> Path:
        overlay = work / "overlay"
        if within is None:
            copy_tree(self.directory, overlay, leave_out="TKLBAM")
        else:
            bounds = PathRules(PathRule(True, path) for path in within).bounds
            copy_parts(self.directory, overlay, bounds or (), room)
        return overlay

    def fetch_all(self, destination: Path) -> None:
        copy_tree(self.directory, destination)
