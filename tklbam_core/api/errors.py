"""What can go wrong, as one small hierarchy: each error says what happened and what to do about it."""

from __future__ import annotations

from pathlib import Path


class TklbamError(Exception):
    """An error meant for the person at the keyboard.

    `what` states what happened; `remedy` says what to do next (one sentence, may be empty).
    `exit_code` is the process exit status the command line turns this error into.
    """

    exit_code = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}" if self.remedy else self.what


class UsageError(TklbamError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class ConfigError(TklbamError):
    """The configuration can't be used: names the file, the line and the values allowed there."""

    exit_code = 2


class FormatError(TklbamError):
    """A file is not what its format says: names the file and, for text, the line (counted from 1)."""

    def __init__(self, file: Path | str, line: int | None, what: str, remedy: str = "") -> None:
        place = f"{file}:{line}" if line is not None else str(file)
        super().__init__(f"{place}: {what}", remedy)
        self.file = file
        self.line = line


class UnsafePathError(TklbamError):
    """A path from an archive, a delta or a Hub would lead outside the root it belongs to."""


class NotInitializedError(TklbamError):
    """There is no secret or no profile yet."""


class LockedError(TklbamError):
    """Another run holds the lock of this root."""


class IncompatibleBackupError(TklbamError):
    """The backup was made on a system that this one can't take it from."""

    exit_code = 10


class WrongPassphraseError(TklbamError):
    """The passphrase does not open the key packet."""

    exit_code = 11

    def __init__(self, what: str = "Incorrect passphrase", remedy: str = "") -> None:
        super().__init__(what, remedy)


class KeyPacketError(TklbamError):
    """A key packet is damaged or of an unknown version."""


class ProfileError(TklbamError):
    """No profile could be found or it can't be used."""


class PluginError(TklbamError):
    """A plugin that this command needs is missing, broken or gave an answer the contract does not allow."""


class TargetError(TklbamError):
    """The storage target can't be reached, read or written. `transient`: trying again may help (a connection that
    broke, a server that is busy), as it doesn't with wrong credentials or a wrong name."""

    def __init__(self, what: str, remedy: str = "", *, transient: bool = False) -> None:
        super().__init__(what, remedy)
        self.transient = transient


class HubError(TklbamError):
    """A Hub refused. `name` is the Hub's own word for it (`BackupAccount.NotSubscribed`), empty where it gave none."""

    def __init__(self, what: str, remedy: str = "", name: str = "") -> None:
        super().__init__(what, remedy)
        self.name = name


class HubUnavailableError(HubError):
    """A Hub can't be reached, or answers nothing that makes sense: what is remembered serves meanwhile."""


class EngineError(TklbamError):
    """The archive engine failed."""


class ArchiveError(EngineError):
    """What the target holds is damaged: a volume missing, too short or not decryptable."""


class SpaceError(TklbamError):
    """A file system is, or would become, full: names which, and how much is needed (bytes)."""


class DatabaseError(TklbamError):
    """A database is there but can't be read or written: names the database and, where known, the table."""


class HookError(TklbamError):
    """An executable in hooks.d exited non-zero."""


class CommandError(TklbamError):
    """A program that was run failed. `status` is its exit status (negative: the signal that ended it)."""

    def __init__(self, program: str, status: int, stderr: str, remedy: str = "") -> None:
        how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        lines = [line for line in stderr.splitlines() if line.strip()]
        detail = f": {lines[-1].strip()}" if lines else ""
        super().__init__(f"{program} {how}{detail}", remedy)
        self.program = program
        self.status = status
        self.stderr = stderr
