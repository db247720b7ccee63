"""Backups by way of a Hub: a records plugin keeps the backup records and hands out addresses and credentials."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .api.errors import NotInitializedError, PluginError, TklbamError, UsageError
from .api.models import Account, BackupRecord, Credentials
from .context import Context
from .initialize import HUB_PLUGIN
from .plugins import Plugins
from .registry import HubBackup, Registry


def linked_account(plugins: Plugins, registry: Registry) -> Account:
    """Raises PluginError where no plugin speaks to a Hub, NotInitializedError where no account is linked."""
    if not plugins.load("records"):
        raise PluginError("this needs a Hub plugin, and none is installed", f"Install {HUB_PLUGIN}.")
    account = registry.account
    if account is None:
        raise NotInitializedError(
            "this system is not linked to a Hub account", "Run `tklbam init API-KEY` with the key from your profile."
        )
    return account


def find_backup(context: Context, name: str) -> BackupRecord:
    """The record with this id, else the only one with this label. Raises UsageError."""
    account = linked_account(context.plugins, context.registry)
    found: BackupRecord | None = _ask(context, "find", account=account, backup_id=name)
    if found is not None:
        return found
    known: Iterable[BackupRecord] = _ask(context, "list", account=account) or ()
    labelled = [record for record in known if record.label == name]
    if len(labelled) == 1:
        return labelled[0]
    raise UsageError(
        f"there {'are several backups' if labelled else 'is no backup'} called {name!r}",
        "`tklbam list` shows them; name one by its id.",
    )


def storage_credentials(context: Context) -> Mapping[str, str]:
    """What a storage plugin needs to open an address that the Hub gave: `type` and the fields of formats.md's table."""
    found: Credentials | None = _ask(context, "credentials", account=linked_account(context.plugins, context.registry))
    if found is None:
        return {}
    context.registry.write_credentials(found)
    return {"type": found.kind, **found.fields}


@contextlib.contextmanager
def hub_backup(context: Context, profile_id: str) -> Iterator[BackupRecord]:
    """The record of this server's backups, made when there is none, marked as running during the block.

    When the block ends without an error the Hub is told that a session was stored.
    """
    account = linked_account(context.plugins, context.registry)
    record = _own_record(context, account, profile_id)
    known = context.registry.hub_backup
    # Until a session is stored, what is known of the last one stands.
    before = known.updated if known is not None and known.backup_id == record.backup_id else record.updated
    context.registry.write_hub_backup(HubBackup(backup_id=record.backup_id, address=record.address, updated=before))
    _ask(context, "mark", account=account, backup_id=record.backup_id, in_progress=True)
    try:
        yield record
        updated: BackupRecord | None = _ask(context, "update", account=account, address=record.address, key=None)
        moment = updated.updated if updated is not None else None
        context.registry.write_hub_backup(HubBackup(backup_id=record.backup_id, address=record.address, updated=moment))
    finally:
        try:
            _ask(context, "mark", account=account, backup_id=record.backup_id, in_progress=False)
        except TklbamError as error:
            context.warn(f"the Hub could not be told that the backup has ended: {error.what}")


def _own_record(context: Context, account: Account, profile_id: str) -> BackupRecord:
    known = context.registry.hub_backup
    if known is not None:
        found: BackupRecord | None = _ask(context, "find", account=account, backup_id=known.backup_id)
        if found is not None:
            return found
        context.warn(f"the Hub has no backup #{known.backup_id} any more; a new one is made")
    key = context.registry.key_packet
    if key is None:
        raise NotInitializedError("there is no key", "Run `tklbam init`.")
    made: BackupRecord | None = _ask(
        context, "create", account=account, profile_id=profile_id, key=key.decode("ascii"), server_id=""
    )
    if made is None:
        raise PluginError("the Hub made no backup record", f"Check that {HUB_PLUGIN} is up to date.")
    return made


def _ask(context: Context, call: str, **arguments: Any) -> Any:
    return context.plugins.first("records", f"tklbam_records_{call}", **arguments)
