"""Adding, changing and removing storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    _save(storage)
    record(actor, "storage.create", account=storage.account, subject=storage.name, detail=storage.address)


@transaction.atomic
def change(storage: Storage, changes: Mapping[str, Any], actor: Actor) -> None:
    """Sets fields by name. Raises ValidationError."""
    for name, value in changes.items():
        setattr(storage, name, value)
    storage.full_clean()
    _save(storage)
    told = ", ".join(f"{name}={value}" for name, value in changes.items() if name != "secret_key")
    record(actor, "storage.change", account=storage.account, subject=storage.name, detail=told)


@transaction.atomic
def remove(storage: Storage, actor: Actor) -> None:
    """Raises RestrictedError where backups are."""
    name, owner = storage.name, storage.account
    storage.delete()
    record(actor, "storage.remove", account=owner, subject=name)


def _save(storage: Storage) -> None:
    if storage.is_default:
        Storage.objects.filter(account=storage.account).exclude(pk=storage.pk).update(is_default=False)
    storage.save()
