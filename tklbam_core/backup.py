"""The backup, in order: what changed → extras → archive → record. Read it from `run_backup` down."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from . import __version__
from .api.errors import TklbamError, UsageError
from .api.models import DatabaseReport, LifecycleEvent
from .api.storage import Target
from .context import Context
from .databases import dump_databases
from .delta.profile import Profile
from .delta.rules import PathRules
from .delta.write import Changes, write_changes
from .engine.interface import Engine, Session, WriteRequest, WriteResult
from .extras import BackupConf, ExtrasIndex, footprint, make_extras, settle_times
from .hooks import find_hooks
from .lifecycle import Lifecycle
from .lock import locked
from .schedule import full_is_due
from .system.identity import host_facts
from .system.packages import write_new_packages
from .system.users import save_for_backup


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What the administrator asked for. `addresses` are URLs; `overrides` are path rules and database limits;
    `volume_size` is megabytes; `keep_full` 0 keeps every chain."""

    addresses: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    full_backup: str = "1M"
    volume_size: int = 25
    uploads: int = 1
    keep_full: int = 0
    skip_files: bool = False
    skip_packages: bool = False
    skip_database: bool = False
    checksum: bool = False
    allow_missing_database: bool = False
    extras_dir: Path | None = None
    simulate: bool = False
    run_hooks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """What became of one target. `chain_length` counts the sessions of the chain this one belongs to."""

    address: str
    result: WriteResult
    verified: bool
    chain_length: int
    pruned: tuple[Session, ...] = ()


@dataclass(slots=True, kw_only=True)
class BackupSummary:
    """What a backup did. `missing` names what could not be read or stored: with any, the backup is incomplete.

    `files` and `size` (bytes) are the uncompressed footprint, extras included; `changes` counts the delta's lines by
    kind (o, s, d).
    """

    profile_id: str = ""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    files: int = 0
    size: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    new_packages: int = 0
    databases: list[DatabaseReport] = field(default_factory=list)
    stored: list[StoredSession] = field(default_factory=list)
    failed_targets: dict[str, TklbamError] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run_backup(request: BackupRequest, profile: Profile, secret: str, context: Context, engine: Engine) -> BackupSummary:
    """Makes one backup and returns what it did. The caller holds the lock of this root.

    Raises a TklbamError where nothing could be stored; what was stored without a part of the system has that part
    named in the summary's `missing`.
    """
    if not request.addresses and not request.simulate:
        raise UsageError("there is nowhere to store the backup",
                         "Give --address URL, or put an `address URL` line into the configuration.")
    targets = [context.target(address) for address in request.addresses]
    with building(request, profile, context, targets, keep=request.simulate) as built:
        if not request.simulate:
            store(request, built, targets, secret, context, engine)
    return built.summary


@dataclass(slots=True, kw_only=True)
class Built:
    """A backup ready to be stored: the extras directory, the overlay's file list and what is known so far."""

    extras: Path
    changes: Changes
    extras_index: ExtrasIndex
    summary: BackupSummary
    lifecycle: Lifecycle
