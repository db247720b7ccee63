"""All that a plugin may import from the core; its tests may also import `tklbam_core.testing`.

`hookimpl` marks hook implementations (the hooks themselves are in `tklbam_core.hookspecs`, to read, not to import).
"""

from __future__ import annotations

from .errors import (
    ArchiveError,
    CommandError,
    ConfigError,
    DatabaseError,
    EngineError,
    FormatError,
    HookError,
    IncompatibleBackupError,
    KeyPacketError,
    LockedError,
    NotInitializedError,
    PluginError,
    ProfileError,
    SpaceError,
    TargetError,
    TklbamError,
    UnsafePathError,
    UsageError,
    WrongPassphraseError,
)
from .files import atomic_write, sync_directory
from .limits import LimitRule, Limits
from .marker import hookimpl
from .models import (
    Account,
    BackupRecord,
    Credentials,
    DatabaseFailure,
    DatabaseReport,
    DatabaseResult,
    DumpRequest,
    EngineAddress,
    EscrowRequest,
    LifecycleEvent,
    ProfileInfo,
    ProfileRequest,
    RestoreRequest,
    RollbackRequest,
    StoredFile,
    TargetRequest,
)
from .process import Completed, Process, run, start
from .progress import Progress, ProgressEvent, silent
from .storage import Target

__all__ = [
    "Account",
    "ArchiveError",
    "BackupRecord",
    "CommandError",
    "Completed",
    "ConfigError",
    "Credentials",
    "DatabaseError",
    "DatabaseFailure",
    "DatabaseReport",
    "DatabaseResult",
    "DumpRequest",
    "EngineAddress",
    "EngineError",
    "EscrowRequest",
    "FormatError",
    "HookError",
    "IncompatibleBackupError",
    "KeyPacketError",
    "LifecycleEvent",
    "LimitRule",
    "Limits",
    "LockedError",
    "NotInitializedError",
    "PluginError",
    "Process",
    "ProfileError",
    "ProfileInfo",
    "ProfileRequest",
    "Progress",
    "ProgressEvent",
    "RestoreRequest",
    "RollbackRequest",
    "SpaceError",
    "StoredFile",
    "Target",
    "TargetError",
    "TargetRequest",
    "TklbamError",
    "UnsafePathError",
    "UsageError",
    "WrongPassphraseError",
    "atomic_write",
    "hookimpl",
    "run",
    "silent",
    "start",
    "sync_directory",
]
