"""The registry: what the tool remembers about one system (docs/formats/registry.md). A classic one is read as it is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .api.errors import FormatError, NotInitializedError, TklbamError
from .api.files import UNFINISHED, atomic_write, sync_directory
from .api.models import Account, Credentials, HubLocation
from .sessions import Sessions
from .target_records import TargetRecords

HEADER = "#tklbam 2"
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_PRIVATE = 0o077
_LEFTOVER = re.compile(re.escape(UNFINISHED) + "[0-9a-f]{12}")
"""What `atomic_write` calls a file that is not whole yet: a killed run's stays behind."""
_LEFTOVER_AGE = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class HubBackup:
    """The backup record that this server's sessions belong to (`hbr`)."""

    backup_id: str
    address: str
    updated: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProfile:
    """The profile in force. `wanted` is what `force-profile` asked for when it was found; `source` who made it, in
    words (both None and empty for a classic registry's)."""

    directory: Path
    profile_id: str
    timestamp: datetime | None
    source: str = ""
    wanted: str | None = None


class Registry:
    """One system's registry. Reading never changes it; each writing method makes it, and makes it private, first.

    Every method raises TklbamError where the registry can't be read or written (the remedy is to be root), and
    FormatError for a file that is not what its format says.
    """

    def __init__(self, directory: Path, scrub: Callable[[str], str] = str) -> None:
        """`scrub` takes secrets out of the text of records."""
        self.directory = directory
        self._scrub = scrub

    # --- keys --------------------------------------------------------------------------------------------------------

    @property
    def secret(self) -> str | None:
        """The archive's passphrase; None: not initialised."""
        return self._line("secret")

    def require_secret(self) -> str:
        """Raises NotInitializedError where there is none."""
        secret = self.secret
        if secret is None:
            raise NotInitializedError("TKLBAM is not initialised on this system", "Run `tklbam init --solo` first.")
        return secret

    def keep_secret(self, secret: str) -> None:
        """Writes the secret, once: it never replaces another, which would lose every backup made with that."""
        known = self.secret
        if known is not None and known != secret:
            raise TklbamError(
                f"{self.directory / 'secret'} exists and is another one",
                "It opens the backups made so far; move it to a safe place first if you mean to give them up.",
            )
        self._write("secret", _encode(secret) + b"\n")

    @property
    def key_packet(self) -> bytes | None:
        return self._read("key")

    def write_key_packet(self, packet: bytes) -> None:
        self._write("key", packet.rstrip(b"\n") + b"\n")

    # --- a Hub -------------------------------------------------------------------------------------------------------

    @property
    def account(self) -> Account | None:
        subkey = self._line("sub_apikey")
        return Account(subkey=subkey, hub=self.hub) if subkey is not None else None

    def write_account(self, account: Account) -> None:
        """Keeps the account, and which Hub it is of."""
        hub = {"url": account.hub.url, "ca_file": str(account.hub.ca_file or "")}
        if any(hub.values()):
            self._write_pairs("hub", hub)
        else:
            self._remove("hub")
        self._write("sub_apikey", _encode(account.subkey) + b"\n")

    @property
    def hub(self) -> HubLocation:
        """Which Hub the account is of, as it was when it was linked."""
        fields = self._pairs("hub") or {}
        ca_file = fields.get("ca_file")
        return HubLocation(url=fields.get("url", ""), ca_file=Path(ca_file) if ca_file else None)

    @property
    def credentials(self) -> Credentials | None:
        fields = self._pairs("credentials")
        return None if fields is None else Credentials(kind=fields.pop("type", "devpay"), fields=fields)

    def write_credentials(self, credentials: Credentials) -> None:
        self._write_pairs("credentials", {"type": credentials.kind, **credentials.fields})

    def forget_credentials(self) -> None:
        self._remove("credentials")

    @property
    def hub_backup(self) -> HubBackup | None:
        fields = self._pairs("hbr")
        if fields is None:
            return None
        try:
            updated = fields.get("updated") or None
            moment = datetime.strptime(updated, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if updated else None
            return HubBackup(backup_id=fields["backup_id"], address=fields["address"], updated=moment)
        except (KeyError, ValueError) as error:
            raise FormatError(
                self.directory / "hbr", None, f"bad or missing member: {error}", "Delete it, then run `tklbam init`."
            ) from error

    def write_hub_backup(self, backup: HubBackup) -> None:
        updated = backup.updated.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if backup.updated else ""
        self._write_pairs("hbr", {"backup_id": backup.backup_id, "address": backup.address, "updated": updated})

    @property
    def key_is_unsent(self) -> bool:
        """Whether the Hub may have the key with an older passphrase."""
        return self._read("key-unsent") is not None

    def write_key_is_unsent(self) -> None:
        self._write("key-unsent", b"")

    def forget_key_is_unsent(self) -> None:
        self._remove("key-unsent")

    # --- backups -----------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.directory / "sessions", self.make, self._scrub)

    @property
    def targets(self) -> TargetRecords:
        return TargetRecords(self.directory / "targets", self.make, self._scrub)

    @property
    def cache_dir(self) -> Path:
        """The archive engine's cache; its user makes it."""
        return self.directory / "cache"

    @property
    def backup_resume(self) -> Mapping[str, Any] | None:
        """What an interrupted backup left to go on from; None when none was interrupted."""
        content = self._read("backup-resume")
        if content is None:
            return None
        try:
            value = json.loads(content)
        except ValueError as error:
            raise FormatError(self.directory / "backup-resume", None, f"not JSON: {error}", "Delete it.") from error
        if not isinstance(value, dict):
            raise FormatError(self.directory / "backup-resume", None, "not a JSON object", "Delete it.")
        return value

    def write_backup_resume(self, content: Mapping[str, Any]) -> None:
        self._write("backup-resume", json.dumps(content, indent=1).encode() + b"\n")

    def forget_backup_resume(self) -> None:
        self._remove("backup-resume")

    def extras_index(self, warn: Callable[[str], None]) -> dict[str, tuple[str, int]]:
        """Path within the extras → (SHA-256, mtime in whole seconds) as of the last session.

        A damaged index only costs space: it draws a warning and counts as empty.
        """
        content = self._read("extras-index")
        if content is None:
            return {}
        header, *lines = content.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")
        index = {}
        try:
            if header != HEADER:
                raise ValueError(f"its first line is not {HEADER}")
            for line in lines:
                digest, mtime, path = line.split("\t")
                if len(bytes.fromhex(digest)) != 32:
                    raise ValueError(f"{digest!r} is no SHA-256")
                index[_unescape(path)] = (digest, int(mtime))
        except ValueError as error:
            warn(f"{self.directory / 'extras-index'} is damaged and not used: {error}")
            return {}
        return index

    def write_extras_index(self, index: Mapping[str, tuple[str, int]]) -> None:
        lines = [HEADER, *(f"{digest}\t{mtime}\t{_escape(path)}" for path, (digest, mtime) in sorted(index.items()))]
        self._write("extras-index", _encode("\n".join(lines) + "\n"))

    # --- the profile -------------------------------------------------------------------------------------------------

    @property
    def profile_dir(self) -> Path:
        """Where the profile in force lies; the place may be empty."""
        place, old = self.directory / "profile", self.directory / "profile.old"
        return old if not place.exists() and old.exists() else place

    @property
    def profile(self) -> StoredProfile | None:
        """The profile in force, None when there is none."""
        directory = self.profile_dir
        name = directory.name
        profile_id = self._line(f"{name}/profile_id")
        if profile_id is None:
            return None
        try:
            timestamp = datetime.fromtimestamp((directory / "stamp").stat().st_mtime, UTC)
        except FileNotFoundError:
            timestamp = None
        origin: Any = {}
        try:
            origin = json.loads(self._read(f"{name}/origin") or b"{}")
            source, wanted = origin.get("source", ""), origin.get("wanted")
        except (ValueError, AttributeError) as error:
            raise FormatError(
                directory / "origin", None, f"not a JSON object: {error}", "Run `tklbam init --force-profile=…`."
            ) from error
        return StoredProfile(
            directory=directory, profile_id=profile_id, timestamp=timestamp, source=source, wanted=wanted
        )

    @contextlib.contextmanager
    def new_profile(self) -> Iterator[Path]:
        """An empty directory that becomes the profile, whole, when the block ends without an error.

        The block writes everything, `profile_id` and `stamp` included. The caller holds the lock of the root.
        """
        self.make()
        place, new, old = (self.directory / name for name in ("profile", "profile.new", "profile.old"))
        with self._access("written"):
            if old.exists() and not place.exists():
                old.rename(place)
            for leftover in (new, old):
                if leftover.exists():
                    shutil.rmtree(leftover)
            new.mkdir(0o700)
            try:
                yield new
                _settle(new)
                if place.exists():
                    place.rename(old)
                new.rename(place)
                sync_directory(self.directory)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            if old.exists():
                shutil.rmtree(old)

    # --- files -------------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Makes the directory, and takes everyone else's rights from it and from the files in it."""
        with self._access("written"):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.directory, self.directory / "sessions", self.directory / "targets"):
                if folder.is_dir():
                    _make_private(folder)

    @contextlib.contextmanager
    def _access(self, how: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = "Run as root." if isinstance(error, PermissionError) else "Repair that, then try again."
            place = error.filename or self.directory
            raise TklbamError(f"{place} can't be {how}: {error.strerror}", remedy) from error

    def _read(self, name: str) -> bytes | None:
        with self._access("read"):
            try:
                return (self.directory / name).read_bytes()
            except FileNotFoundError:
                return None

    def _line(self, name: str) -> str | None:
        """The one line of a file; None where there is no file or it is empty."""
        content = self._read(name)
        text = (content or b"").decode("utf-8", "surrogateescape").strip("\r\n")
        if "\n" in text:
            raise FormatError(self.directory / name, 2, "one line is allowed here", "Restore it from a copy.")
        return text or None

    def _pairs(self, name: str) -> dict[str, str] | None:
        content = self._read(name)
        if content is None:
            return None
        fields = {}
        for number, line in enumerate(content.decode("utf-8", "surrogateescape").split("\n"), 1):
            key, equals, value = line.partition("=")
            if not line.strip():
                continue
            if not equals:
                raise FormatError(self.directory / name, number, "not a key=value line", "Delete the file.")
            fields[key.strip()] = value.strip()
        return fields

    def _write(self, name: str, content: bytes) -> None:
        self.make()
        with self._access("written"), atomic_write(self.directory / name) as file:
            file.write(content)

    def _write_pairs(self, name: str, fields: Mapping[str, str]) -> None:
        for key, value in fields.items():
            if "\n" in value or "\n" in key or "=" in key:
                raise FormatError(self.directory / name, None, f"the value of {key!r} holds a line break")
        self._write(name, _encode("".join(f"{key}={value}\n" for key, value in fields.items())))

    def _remove(self, name: str) -> None:
        with self._access("written"):
            (self.directory / name).unlink(missing_ok=True)


def _make_private(directory: Path) -> None:
    for path in [directory, *directory.iterdir()]:
        with contextlib.suppress(FileNotFoundError):  # another run's file, renamed by now
            found = path.lstat()
            if _LEFTOVER.fullmatch(path.name) and time.time() - found.st_mtime > _LEFTOVER_AGE:
                path.unlink()
            elif found.st_mode & _PRIVATE and not path.is_symlink():
                path.chmod(found.st_mode & 0o7777 & ~_PRIVATE)


def _settle(directory: Path) -> None:
    """Makes a new tree private and durable."""
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, os.fstat(descriptor).st_mode & 0o7777 & ~_PRIVATE)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        Path(folder).chmod(0o700)
        sync_directory(Path(folder))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _escape(path: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in path)


def _unescape(text: str) -> str:
    first, *rest = text.split("\\\\")
    parts = [first, *rest]
    plain = [part.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r") for part in parts]
    return "\\".join(plain)
