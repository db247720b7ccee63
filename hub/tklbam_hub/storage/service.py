"""Adding storage."""

from __future__ import annotations

from django.db import transaction

from tklbam_hub.audit.log import Actor, record
from tklbam_hub.storage.models import Storage
from tklbam_hub.storage.places import check_address


@transaction.atomic
def add(storage: Storage, actor: Actor) -> None:
    """Saves a new storage; a default one takes the place of its owner's former. Raises BadAddress, ValidationError."""
    check_address(storage.address)
    storage.kind = Storage.Kind.S3 if storage.address.startswith("s3") else Storage.Kind.PATH
    storage.full_clean()
    if storage.is_default:
        Storage.objects.filter(account=storage.account).update(is_default=False)
    storage.save()
    record(actor, "storage.create", account=storage.account, subject=storage.name, detail=storage.address)
