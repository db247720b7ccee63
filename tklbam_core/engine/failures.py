"""From what duplicity, gpg and the kernel said to the error a person can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import ArchiveError, EngineError, LockedError, SpaceError, TargetError, TklbamError, UnsafePathError
from ..api.storage import Target
from .archive import SessionKey
from .decrypt import Unreadable
from .events import Record
from .interface import NotInArchiveError
from .space import free_bytes, fullest, no_room

# Exit statuses and ERROR codes of duplicity (log.py).
USER_ERROR, MISMATCHED_HASH, EXCEPTION, GPG_FAILED, NO_FREE_SPACE = 23, 21, 30, 31, 35
PATH_NOT_FOUND, NO_FILES, VOLUME_WRONG_SIZE = 19, 20, 44
BACKEND = range(50, 57)
BACKEND_NO_SPACE, BACKEND_VALIDATION = 53, 56
FULL = re.compile(r"No space left on device|Disk quota exceeded|Errno 28|Errno 122")
VOLUME = re.compile(r"duplicity-[\w.-]+\.(?:difftar|manifest|sigtar)(?:\.\w+)?")
WRONG_SECRET = re.compile(r"Bad session key|Bad passphrase|decryption failed: No secret key")
BAD_DATA = re.compile(
    r"GPG Failed|invalid packet|no valid OpenPGP data|decryption failed|unexpected end of data|ReadError|zlib\.error"
    r"|premature eof|mdc_packet|Restarting GPG"
)
OUTSIDE = re.compile(
    r"Security violation|Read-only file system|\[Errno 30\]|Permission denied|\[Errno 13\]|Error creating directory"
)
SECRET_REMEDY = "Use the key that belongs to this backup."


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run of duplicity that failed. `temp`, `cache` and, for a restore, `destination` are where it wrote."""

    status: int
    errors: tuple[Record, ...]
    stderr: str
    temp: Path
    cache: Path
    target: Target
    destination: Path | None = None

    @property
    def text(self) -> str:
        return "\n".join([*(record.message for record in self.errors), self.stderr])

    @property
    def codes(self) -> set[int]:
        return {self.status, *(record.code for record in self.errors)}

    @property
    def reason(self) -> str:
        """The line that tells most: the last of the error's own, without traceback."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip() and not line.startswith("=====")]
        told = [line for line in lines if not line.startswith(("Traceback", "File "))]
        return (told or lines or [f"it ended with status {self.status}"])[-1].rstrip(":")

    def _space(self) -> SpaceError | None:
        text = self.text
        if not FULL.search(text) and not self.codes & {NO_FREE_SPACE, BACKEND_NO_SPACE}:
            return None
        local = self.target.local_path()
        free: int | None
        if self.destination is not None:
            tighter = fullest(self.destination, self.temp)
            place, free = str(tighter), free_bytes(tighter)
        elif self.codes & {BACKEND_NO_SPACE} or (local is not None and str(local) in text):
            place, free = self.target.address, self.target.free_bytes()
        elif str(self.cache) in text:
            place, free = str(self.cache), free_bytes(self.cache)
        elif NO_FREE_SPACE in self.codes or "gpg" in text.lower() or str(self.temp) in text or local is None:
            place, free = str(self.temp), free_bytes(self.temp)
        else:
            place, free = self.target.address, self.target.free_bytes()
        return no_room(place, free)


def writing(failure: Failure) -> TklbamError:
    """Why a session could not be stored."""
    space = failure._space()
    if space is not None:
        return space
    common = _common(failure)
    if common is not None:
        return common
    return EngineError(
        f"duplicity could not store the session: {failure.reason}", "Nothing of it counts; run the backup again."
    )


def reading(failure: Failure) -> TklbamError:
    """Why files could not be restored."""
    text = failure.text
    if failure.codes & {PATH_NOT_FOUND, NO_FILES}:
        what = f"the archive does not hold that path: {failure.reason}"
        return NotInArchiveError(what, "Check the path and the time.")
    if EXCEPTION in failure.codes and OUTSIDE.search(text) and not FULL.search(text):
        return unsafe(failure.target, failure.reason)
    space = failure._space()
    if space is not None:
        return space
    common = _common(failure)
    if common is not None:
        return common
    if BAD_DATA.search(text):
        return ArchiveError(f"{_named(text)} at {failure.target.address} is damaged: {failure.reason}", _OTHER_TIME)
    return EngineError(f"duplicity could not restore: {failure.reason}", "See the log for what it said.")


_OTHER_TIME = "Restore an earlier state with --time, or bring the file back from a copy of the target."


def _common(failure: Failure) -> TklbamError | None:
    text = failure.text
    if USER_ERROR in failure.codes and "already running" in text:
        return LockedError("another run is using the same target and cache", "Wait until it has ended.")
    if WRONG_SECRET.search(text):
        return ArchiveError(f"the secret does not open the archive at {failure.target.address}", SECRET_REMEDY)
    told = failure.target.explain(text) if failure.codes & {*BACKEND, EXCEPTION} else None
    if told is not None:
        return told
    if failure.codes & {MISMATCHED_HASH, VOLUME_WRONG_SIZE}:
        return altered(failure.target, _named(text))
    if BACKEND_VALIDATION in failure.codes:
        return TargetError(
            f"{failure.target.address} did not keep what was sent: {failure.reason}",
            "Check the target, then try again.",
        )
    if failure.codes & set(BACKEND):
        return TargetError(
            f"{failure.target.address} can't be used: {failure.reason}", "Check that it can be reached and written to."
        )
    if GPG_FAILED in failure.codes and not BAD_DATA.search(text):
        return EngineError(f"gpg does not work: {failure.reason}", "Check that GnuPG and its agent are installed.")
    if GPG_FAILED in failure.codes:
        return ArchiveError(
            f"{_named(text)} at {failure.target.address} can't be decrypted: {failure.reason}", _OTHER_TIME
        )
    return None


def partly(target: Target, destination: Path, unread: Sequence[str], count: int) -> TklbamError:
    """Why `count` files, of which `unread` names the first, were not restored where the others were."""
    text = "\n".join(unread)
    if FULL.search(text) or free_bytes(destination) < 1 << 20:
        return SpaceError(
            f"the file system of {destination} is full ({free_bytes(destination)} bytes free)",
            "Free some space there, or restore to another place.",
        )
    if OUTSIDE.search(text):
        return unsafe(target, unread[0])
    return ArchiveError(
        f"{count} files could not be restored from {target.address}: {unread[0]}",
        "The rest was restored. Restore an earlier state with --time to get those files.",
    )


def altered(target: Target, name: str) -> ArchiveError:
    """A file that has another hash than it should."""
    return ArchiveError(f"{name} at {target.address} is damaged: it is not what its manifest says", _OTHER_TIME)


def damaged_file(target: Target, name: str, why: str) -> ArchiveError:
    """A file that is not what a session is made of."""
    return ArchiveError(f"{name} at {target.address} is damaged: {why}", _OTHER_TIME)


def unreadable(target: Target, name: str, why: Unreadable) -> ArchiveError:
    """Why a small file of the target could not be decrypted."""
    if why is Unreadable.WRONG_SECRET:
        return ArchiveError(f"the secret does not open the archive at {target.address}", SECRET_REMEDY)
    return ArchiveError(f"{name} at {target.address} is damaged", _OTHER_TIME)


def damaged(target: Target, key: SessionKey, reasons: Sequence[str]) -> ArchiveError:
    """What a session lacks that it needs to be restored."""
    return ArchiveError(
        f"the {key.kind} session of {key.end:%Y-%m-%dT%H:%M:%SZ} at {target.address} is damaged: {'; '.join(reasons)}",
        _OTHER_TIME,
    )


def unsafe(target: Target, reason: str) -> UnsafePathError:
    """An archive that tried what it must not."""
    return UnsafePathError(
        f"the archive at {target.address} tries to write outside the directory it is restored to: {reason}",
        "Nothing outside was touched. Do not trust this archive.",
    )


def _named(text: str) -> str:
    found = VOLUME.search(text)
    return found[0] if found else "a file"
