"""What happens to backup records: made within quotas, their key packets replaced, found by whoever may see them."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet, Sum
from django.utils import timezone

from tklbam_hub.accounts.models import Account, ApiKey
from tklbam_hub.audit.log import Actor, record
from tklbam_hub.records.models import BackupRecord
from tklbam_hub.storage import places

REPEATED = timedelta(hours=1)


class QuotaExceeded(Exception):
    """The account has as much as it may have; says of what."""


class NoStorage(Exception):
    """There is no place for new backups of this account."""


def visible_to(key: ApiKey) -> QuerySet[BackupRecord]:
    """The records that servers with this key may see: a client's number or address is looked up in these alone."""
    records = BackupRecord.objects.filter(account_id=key.account_id)
    return records.filter(api_key=key) if key.own_records_only else records


@transaction.atomic
def create(key: ApiKey, actor: Actor, *, packet: str, profile_id: str, server_id: str) -> BackupRecord:
    """Makes a record with an address of its own. Raises QuotaExceeded and NoStorage.

    A client that heard no answer asks again: it gets the record that it was given the first time.
    """
    # The row is locked first, so that two servers get two numbers and a quota is not passed by asking twice at once.
    account = Account.objects.select_for_update().get(pk=key.account_id)
    # Key packets are salted: who sends the same one means the same backup.
    again = account.backups.filter(
        api_key=key,
        key=packet,
        profile_id=profile_id,
        server_id=server_id,
        last_session_at=None,
        created_at__gt=timezone.now() - REPEATED,
    ).first()
    if again is not None:
        return again
    if account.max_backups is not None and account.backups.count() >= account.max_backups:
        raise QuotaExceeded(f"the account may have {account.max_backups} backups")
    check_room(account)
    storage = places.default_for(account)
    if storage is None:
        raise NoStorage("this Hub has no default storage for new backups: its operator must add one")
    number = account.next_backup_number
    Account.objects.filter(pk=account.pk).update(next_backup_number=F("next_backup_number") + 1)
    made = BackupRecord.objects.create(
        account=account,
        api_key=key,
        storage=storage,
        number=number,
        address=places.new_address(storage, account.pk, number),
        key=packet,
        profile_id=profile_id,
        server_id=server_id,
        label=server_id or profile_id,
    )
    record(actor, "backup.create", account=account, subject=f"backup {number}", detail=made.address)
    return made


def check_room(account: Account) -> None:
    """Raises QuotaExceeded when the account's backups hold more than they may."""
    if account.max_bytes is None:
        return
    held = account.backups.aggregate(total=Sum("size"))["total"] or 0
    if held >= account.max_bytes:
        raise QuotaExceeded(f"the account's backups hold {held} bytes of {account.max_bytes}")


@transaction.atomic
def replace_key(backup: BackupRecord, packet: str, actor: Actor) -> None:
    """Keeps another key packet: the passphrase was changed."""
    backup.key = packet
    backup.save(update_fields=["key"])
    record(actor, "backup.key", account=backup.account, subject=f"backup {backup.number}")


@transaction.atomic
def forget(backup: BackupRecord, actor: Actor) -> None:
    """Removes the record with its sessions and key packet. What is stored at its address is not touched."""
    record(actor, "backup.forget", account=backup.account, subject=f"backup {backup.number}", detail=backup.address)
    backup.delete()
