"""What crosses the contract: requests the core makes and answers plugins give.

All are plain frozen dataclasses, made with keyword arguments. Answers are checked against these types when they
come back, so a plugin that returns something else gets an error with its name on it. Sizes are bytes, durations
seconds, times are timezone-aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from .limits import Limits
from .progress import Progress, silent

Operation = Literal["backup", "restore", "rollback"]
Stage = Literal["pre", "inspect", "post", "failed"]


# --- databases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpRequest:
    """Dump every database that `limits` takes, below `extras`, in the engine's own subdirectory (which it creates).

    `options` are the administrator's `database-option ENGINE:KEY=VALUE` for this engine (host, port, user, socket,
    password-file, …). `root` is the system's root; servers are only looked for when it is `/` or `options` name one.
    """

    extras: Path
    limits: Limits
    options: Mapping[str, str] = field(default_factory=dict)
    root: Path = Path("/")
    progress: Progress = silent


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseResult:
    """One database dumped, restored or put back. `rows` is None where the engine can't count them cheaply."""

    name: str
    tables: int
    rows: int | None
    size: int
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFailure:
    """A database (or, with `table`, a part of it) that could not be read or written, and why, in one line."""

    database: str
    reason: str
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseReport:
    """What a database plugin did. Anything in `failures` makes the session incomplete: nothing is left out quietly.

    `directory` is the engine's subdirectory of the extras ("myfs"); `server` says what was talked to
    ("MariaDB 10.11.6 at /run/mysqld/mysqld.sock").
    """

    engine: str
    directory: str
    server: str
    databases: tuple[DatabaseResult, ...] = ()
    failures: tuple[DatabaseFailure, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """Restore what the engine's subdirectory of `extras` holds and `limits` takes.

    Before its first change the plugin saves into `rollback` (its own, empty, 0700 directory) all that it needs to put
    the server back as it was, also when this process is killed at any later moment. With `simulate` it changes
    nothing and returns what it would do. With `rollback` None nothing need be saved.
    """

    extras: Path
    limits: Limits
    rollback: Path | None
    options: Mapping[str, str] = field(default_factory=dict)
    root: Path = Path("/")
    simulate: bool = False
    progress: Progress = silent


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRequest:
    """Put back what a restore saved in `rollback`. Must be safe to run again after being killed itself."""

    rollback: Path
    options: Mapping[str, str] = field(default_factory=dict)
    root: Path = Path("/")
    progress: Progress = silent


# --- storage ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRequest:
    """Open the target at `address` (a URL).

    `credentials` come from a Hub (with its `type`) or from the administrator's credentials file; `options` from conf.
    `renew`, where there is one, asks for fresh credentials when temporary ones are about to expire; it raises
    TklbamError.
    """

    address: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    root: Path = Path("/")
    renew: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """How duplicity reaches a target: its URL, extra options, and environment (where credentials go, never argv).

    `files` (name → content) are written, mode 0600, into a private directory that lasts as long as the run;
    `{files}` in an option or in the environment's values stands for that directory.
    """

    url: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeOption:
    """One `storage-option` that a storage plugin knows: its key, and what it means in a few words."""

    key: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeInfo:
    """One kind of address that a storage plugin serves, for people: `tklbam targets` shows it.

    `forms` are example addresses, the usual one first; `needs` names what has to be installed beside the plugin, and
    `missing` what of it is not; `credentials` says in a few words how to give them.
    """

    scheme: str
    what: str
    forms: tuple[str, ...]
    options: tuple[SchemeOption, ...] = ()
    credentials: str = ""
    needs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file on a target: its name without folder, its size in bytes and, where known, when it was written."""

    name: str
    size: int
    modified: datetime | None = None


# --- profiles --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """Find a profile and write its files (formats: dirindex.conf, dirindex, packages, …) into `directory`, empty.

    `wanted` is what the administrator asked for (`force-profile`: an id, `empty`, `dpkg`, a path), or None: the best
    for this system. `profile_id` is the id the system itself has. `known` is the timestamp of the profile already
    here, so that a Hub can answer "still current" with None. `account` is the Hub account that this system is linked
    to, None where there is none.
    """

    wanted: str | None
    profile_id: str
    directory: Path
    root: Path = Path("/")
    known: datetime | None = None
    progress: Progress = silent
    account: Account | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileInfo:
    """A profile that was found: the id it will be known by, where it came from in a few words, and its time."""

    profile_id: str
    source: str
    timestamp: datetime
    warnings: tuple[str, ...] = ()


# --- key escrow ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowRequest:
    """Where a key packet is to be kept or found: `place` is a path, `-`, or what the plugin makes of it.

    `account` and `backup_id` are the Hub account that this system is linked to and its own backup there, where there is
    one.
    """

    place: str
    backup_id: str | None = None
    overwrite: bool = False
    account: Account | None = None


# --- records (a Hub) -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLocation:
    """Which Hub, where the administrator named one: the base `url` of its API, and a file with the certificates of the
    authorities that are trusted for it, alone. Empty and None: the plugin's own Hub, and the system's authorities."""

    url: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as linked: the `subkey` that authenticates every later call. Kept in the registry, mode 0600."""

    subkey: str = field(repr=False)
    hub: HubLocation = HubLocation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Storage credentials: `kind` ("iamrole", "iamuser", "devpay", or what a Hub and a storage plugin agree on) and its
    fields by the Hub's names."""

    kind: str
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSession:
    """What a Hub is told of a stored session: `kind` is "full" or "incremental", `outcome` "complete" or "incomplete";
    `added` are its bytes, `size` those of all sessions at the address; `message` is a line for people."""

    kind: str
    outcome: str
    size: int
    added: int
    verified: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRecord:
    """A backup as a Hub knows it. `key` is the key packet, Base64 text; `size` is bytes."""

    backup_id: str
    address: str
    key: str = field(repr=False)
    profile_id: str
    created: datetime | None = None
    updated: datetime | None = None
    size: int = 0
    label: str = ""
    server_id: str = ""
    no_passphrase: bool = False


# --- lifecycle -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleEvent:
    """Where a run is. `extras` is set from `inspect` on; `outcome` ("complete", "incomplete", "failed") at the end."""

    operation: Operation
    stage: Stage
    root: Path
    profile_id: str = ""
    extras: Path | None = None
    address: str = ""
    simulate: bool = False
    outcome: str = ""
