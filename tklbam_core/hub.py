"""Backups by way of a Hub: a records plugin keeps the backup records and hands out addresses and credentials.

A Hub is a help, not a condition: once it has given a record, backups go on without it, with what the registry
remembers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .api.errors import (
    HubError,
    HubUnavailableError,
    KeyPacketError,
    NotInitializedError,
    PluginError,
    TklbamError,
    UsageError,
)
from .api.models import Account, BackupRecord, Credentials, HubSession
from .context import Context
from .host import Host
from .hub_account import hub_account
from .hub_address import check_address
from .initialize import HUB_PLUGIN
from .keys import packet
from .plugins import Plugins
from .registry import HubBackup, Registry


@dataclass(slots=True, kw_only=True)
class HubStorage:
    """A backup on the Hub, and what opens its address: credentials, and how to get fresh ones. Whoever stores a session
    there says which, in `session`."""

    record: BackupRecord
    credentials: Mapping[str, str] = field(repr=False)
    renew: Callable[[], Mapping[str, str]] = field(repr=False)
    session: HubSession | None = None


def linked_account(plugins: Plugins, host: Host, registry: Registry) -> Account:
    """Raises PluginError where no plugin speaks to a Hub, NotInitializedError where no account is linked."""
    if not plugins.load("records"):
        raise PluginError("this needs a Hub plugin, and none is installed", f"Install {HUB_PLUGIN}.")
    account = hub_account(host, registry)
    if account is None:
        raise NotInitializedError(
            "this system is not linked to a Hub account", "Run `tklbam init API-KEY` with the key from your profile."
        )
    return account


class Hub:
    """The Hub as one run sees it: `reachable` until a call has shown the opposite, which is warned of once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.account = linked_account(context.plugins, context.host, context.registry)
        self.reachable = True

    def ask(self, call: str, **arguments: Any) -> Any:
        """Raises HubUnavailableError, HubError, PluginError."""
        return self.context.plugins.first("records", f"tklbam_records_{call}", account=self.account, **arguments)

    def lost(self, error: HubUnavailableError) -> None:
        if self.reachable:
            self.context.warn(f"{error.what}; the backup goes on with what is remembered of the Hub")
        self.reachable = False

    def begun(self, backup_id: str) -> None:
        """Raises HubError where the account may make no more backups."""
        try:
            self.ask("mark", backup_id=backup_id, in_progress=True, problem="")
        except HubUnavailableError as error:
            self.lost(error)

    def ended(self, backup_id: str, problem: str) -> None:
        if self.reachable:
            self.tell("that the backup has ended", "mark", backup_id=backup_id, in_progress=False, problem=problem)

    def tell(self, what: str, call: str, **arguments: Any) -> Any:
        """Like `ask` for what a backup does not depend on: a failure is a warning."""
        try:
            return self.ask(call, **arguments)
        except TklbamError as error:
            if self.reachable:
                self.context.warn(f"the Hub could not be told {what}: {error.what}")
            if isinstance(error, HubUnavailableError):
                self.reachable = False
            return None


def find_backup(context: Context, name: str) -> HubStorage:
    """The backup with this id, else the only one with this label, to restore from.

    Raises UsageError where there is none, HubError. With the Hub gone, this system's own is found all the same.
    """
    hub = Hub(context)
    try:
        record = _find(hub, name)
    except HubUnavailableError as error:
        known = context.registry.hub_backup
        if known is None or known.backup_id != name:
            raise
        context.warn(f"{error.what}; what is remembered of the Hub's backup #{name} is used")
        hub.reachable = False
        record = _remembered(context.registry, known)
    check_address(record.address, context.hub_directories)
    _check_key(context, record)
    return _storage(hub, record)


def _check_key(context: Context, record: BackupRecord) -> None:
    """A restore takes what the key opens: a Hub that gives out a key of its own could have its own files restored."""
    known, own = context.registry.hub_backup, context.registry.key_packet
    try:
        if known is not None and known.backup_id == record.backup_id and own is not None:
            if packet.fingerprint(_bytes(record.key)) != packet.fingerprint(own):
                raise HubError(
                    f"the Hub's key of backup #{record.backup_id} is not that of this system, which made the backup",
                    "Somebody may have exchanged it. What this system stored is opened by its own key: "
                    f"tklbam restore --address {known.address}",
                )
        elif not packet.is_protected(_bytes(record.key)):
            context.warn(
                f"the key of backup #{record.backup_id} has no passphrase: whoever has the Hub in hand could have put "
                "another backup in its place"
            )
    except KeyPacketError as error:
        raise HubError(
            f"the Hub's key of backup #{record.backup_id}: {error.what}",
            "Restore with a copy of the key: tklbam restore --address URL --keyfile FILE",
        ) from error


def _find(hub: Hub, name: str) -> BackupRecord:
    found: BackupRecord | None = hub.ask("find", backup_id=name)
    if found is not None:
        return found
    known: Iterable[BackupRecord] = hub.ask("list") or ()
    labelled = [record for record in known if record.label == name]
    if len(labelled) == 1:
        return labelled[0]
    raise UsageError(
        f"there {'are several backups' if labelled else 'is no backup'} called {name!r}",
        "`tklbam list` shows them; name one by its id.",
    )


@contextlib.contextmanager
def hub_backup(context: Context, profile_id: str) -> Iterator[HubStorage]:
    """The record of this server's backups, made when there is none, marked as running during the block.

    When the block ends without an error the Hub is told that a session was stored. A Hub that can't be reached is a
    warning where the registry remembers a record. Raises HubError where it refuses.
    """
    hub = Hub(context)
    registry = context.registry
    record = _own_record(hub, profile_id)
    _remember(context, record)
    check_address(record.address, context.hub_directories)
    storage = _storage(hub, record)
    if hub.reachable and registry.key_is_unsent:
        _send_unsent_key(hub, record)
    if hub.reachable:
        hub.begun(record.backup_id)
    try:
        yield storage
    except BaseException as error:
        hub.ended(record.backup_id, problem=_one_line(error))
        raise
    # Also where it could not be reached before: a backup takes its time, and the Hub may be back.
    updated = hub.tell(
        "that a session was stored",
        "update",
        backup_id=record.backup_id,
        address=record.address,
        key=None,
        session=storage.session,
    )
    hub.ended(record.backup_id, problem="")
    moment = updated.updated if isinstance(updated, BackupRecord) else None
    registry.write_hub_backup(
        HubBackup(backup_id=record.backup_id, address=record.address, updated=moment or datetime.now(UTC))
    )


def _one_line(error: BaseException) -> str:
    text = error.what if isinstance(error, TklbamError) else f"it was ended ({type(error).__name__})"
    return " ".join(text.split())[:500]


def _own_record(hub: Hub, profile_id: str) -> BackupRecord:
    registry = hub.context.registry
    known = registry.hub_backup
    if known is not None:
        try:
            found: BackupRecord | None = hub.ask("find", backup_id=known.backup_id)
        except HubUnavailableError as error:
            hub.lost(error)
            return _remembered(registry, known)
        if found is not None:
            return found
        hub.context.warn(f"the Hub has no backup #{known.backup_id} any more; a new one is made")
    key = registry.key_packet
    if key is None:
        raise NotInitializedError("there is no key", "Run `tklbam init`.")
    made: BackupRecord | None = hub.ask("create", profile_id=profile_id, key=_text(key), server_id="")
    if made is None:
        raise PluginError("the Hub made no backup record", f"Check that {HUB_PLUGIN} is up to date.")
    registry.forget_key_is_unsent()
    return made


def _remember(context: Context, record: BackupRecord) -> None:
    known = context.registry.hub_backup
    same = known is not None and known.backup_id == record.backup_id
    if known is not None and same and known.address != record.address:
        context.note(f"the Hub has moved backup #{record.backup_id} from {known.address} to {record.address}")
    # Until a session is stored, what is known of the last one stands.
    before = known.updated if known is not None and same else record.updated
    context.registry.write_hub_backup(HubBackup(backup_id=record.backup_id, address=record.address, updated=before))


def _remembered(registry: Registry, known: HubBackup) -> BackupRecord:
    profile = registry.profile
    return BackupRecord(
        backup_id=known.backup_id,
        address=known.address,
        key=_text(registry.key_packet or b""),
        profile_id=profile.profile_id if profile is not None else "",
        updated=known.updated,
    )


# --- credentials -----------------------------------------------------------------------------------------------------


def _storage(hub: Hub, record: BackupRecord) -> HubStorage:
    def fresh() -> Mapping[str, str]:
        """Asks the Hub, and keeps its answer. Raises HubUnavailableError, HubError."""
        found: Credentials | None = hub.ask("credentials", backup_id=record.backup_id)
        if found is None:
            return {}
        hub.context.registry.write_credentials(found)
        return _as_fields(found)

    credentials: Mapping[str, str] | None = None
    if hub.reachable:
        try:
            credentials = fresh()
        except HubUnavailableError as error:
            hub.lost(error)
    if credentials is None:
        kept = hub.context.registry.credentials
        credentials = _as_fields(kept) if kept is not None else {}
    return HubStorage(record=record, credentials=credentials, renew=fresh)


def _as_fields(credentials: Credentials) -> Mapping[str, str]:
    """What a storage plugin gets: `type`, where there is one, and the fields of formats.md's table."""
    return {**({"type": credentials.kind} if credentials.kind else {}), **credentials.fields}


# --- the key ---------------------------------------------------------------------------------------------------------


def change_key(plugins: Plugins, host: Host, registry: Registry, key: bytes, warn: Callable[[str], None]) -> None:
    """Puts another packet of the same secret in force, here and at the Hub, which keeps a copy.

    The Hub first: a passphrase that it refuses must not look as if it were set. One that can't be reached gets it with
    the next backup. Raises HubError where it refuses.
    """
    account, backup = hub_account(host, registry), registry.hub_backup
    if account is not None and backup is not None:
        registry.write_key_is_unsent()
        try:
            plugins.first(
                "records",
                "tklbam_records_update",
                account=account,
                backup_id=backup.backup_id,
                address=backup.address,
                key=_text(key),
                session=None,
            )
        except HubUnavailableError as error:
            warn(f"{error.what}; until the next backup the Hub keeps the key with the old passphrase")
        else:
            registry.forget_key_is_unsent()
    registry.write_key_packet(key)


def _send_unsent_key(hub: Hub, record: BackupRecord) -> None:
    key = hub.context.registry.key_packet
    if key is None:
        return
    told = hub.tell(
        "the new passphrase",
        "update",
        backup_id=record.backup_id,
        address=record.address,
        key=_text(key),
        session=None,
    )
    if told is not None:
        hub.context.registry.forget_key_is_unsent()


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("ascii", "replace").strip()
