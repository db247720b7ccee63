"""Making accounts and changing their passwords."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from tklbam_hub.accounts.models import Account
from tklbam_hub.audit.log import Actor, record


@transaction.atomic
def create(account: Account, password: str | None, actor: Actor) -> None:
    """Saves a new account; without a password it can't sign in. Raises ValidationError."""
    account.full_clean(exclude=["password"])
    if password is None:
        account.set_unusable_password()
    else:
        validate_password(password, account)
        account.set_password(password)
    account.save()
    record(actor, "account.create", account=account, subject=account.username)


@transaction.atomic
def remove(account: Account, actor: Actor) -> None:
    """Deletes an account and all that is its own: keys, records with their key packets, profiles, storage."""
    numbers = " ".join(str(number) for number in account.backups.values_list("number", flat=True))
    record(actor, "account.remove", subject=account.username, detail=f"backups {numbers}" if numbers else "")
    account.delete()


@transaction.atomic
def set_password(account: Account, password: str, actor: Actor) -> None:
    """Raises ValidationError for a password that is too easy."""
    validate_password(password, account)
    account.set_password(password)
    account.save(update_fields=["password"])
    record(actor, "account.password", account=account, subject=account.username)
