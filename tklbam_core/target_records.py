"""What the registry remembers about each target besides its sessions (docs/formats/target-record.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from .api.errors import FormatError, TklbamError
from .api.files import atomic_write
from .conf_values import without_password
from .plain_json import from_plain, to_plain

FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckNote:
    """What `tklbam check` found. Sizes are bytes; `clock_skew` is by how many seconds the target's clock is ahead."""

    time: datetime
    ok: bool
    chains: int = 0
    sessions: int = 0
    size: int = 0
    orphans: int = 0
    orphan_size: int = 0
    free: int | None = None
    clock_skew: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreTest:
    """A restore made to see whether it can be. `session` is the one restored; `files` and `size` (bytes) came out,
    `compared` of them were the same on this system, byte for byte, and `changed` have changed here since."""

    time: datetime
    outcome: Literal["complete", "incomplete", "failed"]
    session: datetime | None = None
    files: int = 0
    size: int = 0
    compared: int = 0
    changed: int = 0
    seconds: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    """One target. `mount` is the mount point of the file system that it lay on; empty where that is not known."""

    address: str
    mount: str = ""
    check: CheckNote | None = None
    restore_test: RestoreTest | None = None

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **to_plain(self)}


class TargetRecords:
    """The records of one registry; `make` makes the registry, `scrub` takes secrets out of what is written."""

    def __init__(self, directory: Path, make: Callable[[], None], scrub: Callable[[str], str] = str) -> None:
        self._directory = directory
        self._make = make
        self._scrub = scrub

    def read(self, address: str) -> TargetRecord:
        """An empty record where nothing is known. Raises FormatError, TklbamError."""
        path = self._path(address)
        try:
            found = from_plain(TargetRecord, json.loads(path.read_bytes()), FORMAT)
        except FileNotFoundError:
            return TargetRecord(address=without_password(address))
        except OSError as error:
            raise TklbamError(f"{path} can't be read: {error.strerror}", "Run as root.") from error
        except (ValueError, RecursionError) as error:
            raise FormatError(path, None, f"not a target's record: {error}", "Delete it.") from error
        return replace(found, address=without_password(address))

    def write(self, record: TargetRecord) -> None:
        """Raises TklbamError."""
        path = self._path(record.address)
        record = self._without_secrets(record)
        try:
            self._make()
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with atomic_write(path) as file:
                file.write(json.dumps(record.to_json(), indent=1).encode() + b"\n")
        except OSError as error:
            raise TklbamError(f"{error.filename or path} can't be written: {error.strerror}", "Run as root.") from error

    def _without_secrets(self, record: TargetRecord) -> TargetRecord:
        check, test = record.check, record.restore_test
        if check is not None:
            check = replace(check, problems=tuple(map(self._scrub, check.problems)))
        if test is not None:
            test = replace(test, problems=tuple(map(self._scrub, test.problems)))
        return replace(record, check=check, restore_test=test)

    def _path(self, address: str) -> Path:
        digest = hashlib.sha256(without_password(address).rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()
        return self._directory / f"{digest[:32]}.json"
