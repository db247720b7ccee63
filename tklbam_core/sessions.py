"""Session records: what is known locally about each backup (docs/formats/session-record.md)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .api.errors import FormatError, TklbamError
from .api.files import atomic_write
from .plain_json import from_plain, to_plain

FORMAT = 2
KEPT = 1000

Outcome = Literal["complete", "incomplete", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseNote:
    """What was dumped of one engine: `server` as its plugin describes it, `names` its databases."""

    engine: str
    server: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One attempt at one target. Times are timezone-aware, sizes bytes; see the format for each member."""

    started: datetime
    ended: datetime
    address: str
    outcome: Outcome
    kind: Literal["full", "incremental", ""] = ""
    session: datetime | None = None
    chain_started: datetime | None = None
    chain_length: int = 0
    size: int = 0
    volumes: int = 0
    new_files: int = 0
    changed_files: int = 0
    deleted_files: int = 0
    footprint: int = 0
    footprint_files: int = 0
    verified: bool | None = None
    verification_problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    databases: tuple[DatabaseNote, ...] = ()
    profile_id: str = ""
    backup_id: str = ""
    vanished: tuple[str, ...] = ()
    extras_digest: str = ""
    target_size: int = 0
    target_free: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return (self.ended - self.started).total_seconds()

    @property
    def stored(self) -> bool:
        return self.outcome != "failed"

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **to_plain(self)}

    @classmethod
    def from_json(cls, value: object) -> SessionRecord:
        """Raises ValueError, naming the member that is wrong."""
        return from_plain(cls, value, FORMAT)


class Sessions:
    """The records of one registry. `make` makes the registry; `scrub` takes secrets out of what is written. Damaged
    files met on the way are in `problems`."""

    def __init__(self, directory: Path, make: Callable[[], None], scrub: Callable[[str], str] = str) -> None:
        self._directory = directory
        self._make = make
        self._scrub = scrub
        self._damaged: dict[str, str] = {}

    @property
    def problems(self) -> list[str]:
        """A line for each damaged record that was met."""
        return list(self._damaged.values())

    def add(self, record: SessionRecord) -> Path:
        """Keeps a record and deletes the oldest beyond the last 1000. Raises TklbamError."""
        name = f"{record.started.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(2)}.json"
        path = self._directory / name
        try:
            self._make()
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with atomic_write(path) as file:
                file.write(json.dumps(self._without_secrets(record).to_json(), indent=1).encode() + b"\n")
            self._forget_oldest()
        except OSError as error:
            raise TklbamError(f"{error.filename or path} can't be written: {error.strerror}", "Run as root.") from error
        return path

    def _without_secrets(self, record: SessionRecord) -> SessionRecord:
        def scrubbed(lines: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(map(self._scrub, lines))

        return replace(
            record,
            error=self._scrub(record.error),
            missing=scrubbed(record.missing),
            warnings=scrubbed(record.warnings),
            verification_problems=scrubbed(record.verification_problems),
        )

    def newest_first(self, address: str | None = None) -> Iterator[SessionRecord]:
        """All records, or those of one target. Reads files one by one, as they are asked for. Raises TklbamError."""
        for path in reversed(self._files()):
            record = self._read(path)
            if record is not None and address in (None, record.address):
                yield record

    def last(self, address: str | None = None) -> SessionRecord | None:
        return next(self.newest_first(address), None)

    def last_complete(self, address: str | None = None) -> SessionRecord | None:
        return next((record for record in self.newest_first(address) if record.outcome == "complete"), None)

    def last_stored(self, address: str | None = None) -> SessionRecord | None:
        """The newest that left something to restore, complete or not."""
        return next((record for record in self.newest_first(address) if record.stored), None)

    def addresses(self) -> list[str]:
        """Every target there is a record of, the one used last first."""
        return list(dict.fromkeys(record.address for record in self.newest_first()))

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self._directory.iterdir() if path.suffix == ".json" and path.name[0] != ".")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TklbamError(f"{self._directory} can't be read: {error.strerror}", "Run as root.") from error

    def _read(self, path: Path) -> SessionRecord | None:
        if path.name in self._damaged:
            return None
        try:
            return SessionRecord.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:  # deleted by a backup that ended just now
            return None
        except OSError as error:
            raise TklbamError(f"{path} can't be read: {error.strerror}", "Run as root.") from error
        except (ValueError, RecursionError) as error:
            problem = FormatError(path, None, f"not a session record: {error}")
            self._damaged[path.name] = problem.what
            return None

    def _forget_oldest(self) -> None:
        for path in self._files()[:-KEPT]:
            record = self._read(path)
            # The one thing that says a target has a good backup is not forgotten, however many have failed since.
            if record is not None and record.outcome == "complete" and self.last_complete(record.address) == record:
                continue
            path.unlink(missing_ok=True)
