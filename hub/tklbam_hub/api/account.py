"""Calls that link a server and open storage to it."""

from __future__ import annotations

from django.http import HttpRequest

from tklbam_hub.accounts import keys
from tklbam_hub.accounts.models import ApiKey
from tklbam_hub.api import authentication, records
from tklbam_hub.api.calls import Answer
from tklbam_hub.api.errors import ApiError
from tklbam_hub.api.fields import Fields
from tklbam_hub.audit.log import record
from tklbam_hub.records import service
from tklbam_hub.records.models import BackupRecord
from tklbam_hub.storage import credentials, places
from tklbam_hub.storage.models import Storage


def subkey(request: HttpRequest) -> Answer:
    text = Fields(request).text("apikey", 8000)
    key = authentication.by_api_key(request, text)
    record(records.actor(request, key), "key.link", account=key.account, subject=f"key {key.pk}")
    return {"subkey": keys.subkey_text(text)}


def storage_credentials(request: HttpRequest) -> Answer:
    """For the backup that the client names (`backup_id`), else for all that its key may see."""
    key = authentication.by_subkey(request)
    fields = Fields(request)
    number = fields.text("backup_id", records.WORD) if "backup_id" in fields else ""
    try:
        issued = for_backup(key, records.find(key, number)) if number else for_key(key)
    except credentials.NoCredentials as error:
        raise ApiError("Hub.NoStorage", str(error)) from None
    subject = f"backup {number}" if number else ""
    record(records.actor(request, key), "credentials.issue", account=key.account, subject=subject, detail=issued.kind)
    return {"type": issued.kind, **issued.fields}


def for_backup(key: ApiKey, backup: BackupRecord) -> credentials.Issued:
    scope = credentials.Scope(
        key.account_id, f"tklbam-{key.account_id}-{backup.number}", [backup.address], writes=key.account.subscribed
    )
    if backup.storage.kind == Storage.Kind.PATH:
        return credentials.nothing_needed()
    if backup.storage.mode != Storage.Mode.STATIC:
        return credentials.temporary(backup.storage, scope)
    if not backup.storage_access_key:
        raise credentials.NoCredentials(f"backup {backup.number} has no keys yet: the Hub's operator must add them")
    return credentials.static(backup.storage_access_key, backup.storage_secret_key)


def for_key(key: ApiKey) -> credentials.Issued:
    """What a client gets that names no backup: classic ones never do."""
    backups = list(service.visible_to(key).select_related("storage").order_by("number"))
    if not backups:
        records.require_subscription(key)
    storage = places.default_for(key.account)
    if storage is None:
        raise credentials.NoCredentials("this Hub has no default storage: its operator must add one")
    if storage.kind == Storage.Kind.PATH:
        return credentials.nothing_needed()
    here = [backup for backup in backups if backup.storage_id == storage.pk]
    if storage.mode == Storage.Mode.STATIC:
        if len(here) == 1:
            return for_backup(key, here[0])
        return _pending() if not here else _refuse()
    if not storage.account_wide:
        return _pending() if not here else for_backup(key, here[0]) if len(here) == 1 else _refuse()
    if key.own_records_only:
        if not here:
            return _pending()
        addresses = [backup.address for backup in here]
        name = f"tklbam-{key.account_id}-key-{key.pk}"
        return credentials.temporary(
            storage, credentials.Scope(key.account_id, name, addresses, writes=key.account.subscribed)
        )
    scope = credentials.Scope(
        key.account_id, f"tklbam-{key.account_id}", whole_account=True, writes=key.account.subscribed
    )
    return credentials.temporary(storage, scope)


def _pending() -> credentials.Issued:
    # A server is linked before it has a backup: there is nothing yet that credentials could open.
    return credentials.nothing_needed()


def _refuse() -> credentials.Issued:
    raise ApiError("Request.MissingArgument", "backup_id: credentials of this storage open one backup each")
