"""What the pipelines ask of an archive engine, and nothing more, so that another writer or reader can stand behind it.

A *session* is one full or incremental backup, known by its time (UTC, whole seconds). A *chain* is a full session and
its increments. The archive format is duplicity's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from ..api.errors import EngineError
from ..api.models import StoredFile
from ..api.progress import Progress, silent
from ..api.storage import Target

Kind = Literal["full", "incremental"]


class NotInArchiveError(EngineError):
    """The session does not hold the path that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """Store the paths listed in `file_list` (NUL-separated bytes, relative to `source`, UTF-8) as one session.

    `extras` is the directory that is stored as `TKLBAM` (it lies at `source`/TKLBAM unless the administrator moved it);
    None for a raw upload. `secret` is the archive's passphrase. `volume_size` is megabytes; `uploads` is how many
    volumes go up at once where the target can.
    """

    source: Path
    extras: Path | None
    file_list: Path
    full: bool
    secret: str = field(repr=False)
    volume_size: int = 25
    uploads: int = 1
    progress: Progress = silent
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session as it lies on a target. `size` is bytes on the target, signatures and manifest included."""

    kind: Kind
    time: datetime
    size: int
    volumes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A full session and its increments, oldest first."""

    sessions: tuple[Session, ...]

    @property
    def size(self) -> int:
        return sum(session.size for session in self.sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What was stored. `source_size` and `changed` describe the source; `seconds` is wall time.

    `unread` names, a line each, what was asked for and could not be stored: anything in it makes the session
    incomplete. `vanished` are paths that went away after they were listed, which is normal.
    `warnings` are other things worth knowing.
    """

    session: Session
    source_files: int
    source_size: int
    new_files: int
    changed_files: int
    deleted_files: int
    seconds: float
    warnings: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The cheap check after a session: every volume the manifest names is on the target with a plausible size."""

    ok: bool
    volumes: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedSession:
    """A session that was complete once and can't be restored now, and why, a line each."""

    session: Session
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything on a target. `chains` can be restored, oldest first; `orphans` are files that belong to no session:
    what interrupted runs left, and what is not the archive's."""

    chains: tuple[Chain, ...]
    damaged: tuple[DamagedSession, ...]
    orphans: tuple[StoredFile, ...]

    @property
    def sessions(self) -> list[Session]:
        return [session for chain in self.chains for session in chain.sessions]

    @property
    def chains_size(self) -> int:
        """Bytes of what can be restored."""
        return sum(chain.size for chain in self.chains)

    @property
    def orphans_size(self) -> int:
        return sum(file.size for file in self.orphans)

    @property
    def size(self) -> int:
        """Bytes of all files there."""
        return self.chains_size + sum(each.session.size for each in self.damaged) + self.orphans_size


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """Fetch the state at `time` (None: the latest) into `destination`, an empty directory.

    With `path` only that subtree is fetched, and `destination` becomes it. With `within` what lies at or below these
    paths, which may hold globs, is fetched, and the directories above them; where only duplicity can read the archive,
    more is. Nothing is written outside `destination` whatever the archive says. With `fresh` all comes from the target,
    nothing from a cache: to test the target. `room` is how many bytes what is fetched `within` paths may take (None:
    any number), `whole` what all of it takes (0: not known).
    """

    destination: Path
    secret: str = field(repr=False)
    path: str | None = None
    within: tuple[str, ...] | None = None
    room: int | None = None
    whole: int = 0
    time: datetime | None = None
    fresh: bool = False
    progress: Progress = silent


class Engine(Protocol):
    """An archive engine. Every method raises EngineError (ArchiveError where the target's content is damaged,
    TargetError where it can't be reached, SpaceError where a disk is full)."""

    def prepare(self, target: Target, secret: str) -> Sequence[str]:
        """Removes what interrupted runs left on the target and in the local cache; says what, a line each."""
        ...

    def chains(self, target: Target) -> Sequence[Chain]:
        """The complete chains on the target, oldest first, from the names and sizes of its files alone."""
        ...

    def inventory(self, target: Target) -> Inventory:
        """Everything on the target, from the names and sizes of its files alone."""
        ...

    def session_at(self, target: Target, when: datetime | None) -> Session:
        """The session that `fetch` takes for the state at `when` (None: the latest)."""
        ...

    def write(self, target: Target, request: WriteRequest) -> WriteResult:
        """Stores one session."""
        ...

    def verify(self, target: Target, session: Session, secret: str) -> Verification:
        """Checks a session cheaply."""
        ...

    def fetch(self, target: Target, request: FetchRequest) -> None:
        """Restores files from the target."""
        ...

    def prune(self, target: Target, keep_full: int) -> Sequence[Session]:
        """Deletes all but the newest `keep_full` chains; returns the sessions that are gone."""
        ...
