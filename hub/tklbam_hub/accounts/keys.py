"""Making, checking and revoking API keys. What is stored is a digest under a key that is not in the database."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from tklbam_hub import state
from tklbam_hub.accounts import codec
from tklbam_hub.accounts.models import Account, ApiKey
from tklbam_hub.audit.log import Actor, record

# A busy key is noted as used once in this time, so that a hundred servers starting at once do not queue for one row.
NOTE_EVERY = timedelta(minutes=10)


def digest(account_id: int, secret: bytes) -> str:
    """What stands for a secret in the database: 64 hex digits. Without the master key no guess can be tried on it."""
    key = state.derived(settings.MASTER_KEY, "api keys")
    return hmac.new(key, account_id.to_bytes(4, "big") + secret, hashlib.sha256).hexdigest()


@transaction.atomic
def create(account: Account, label: str, actor: Actor, *, own_records_only: bool = False) -> tuple[ApiKey, str]:
    """Makes a key; returns it with its text, which is shown once and can't be had again."""
    secret = codec.new_secret()
    key = ApiKey.objects.create(
        account=account,
        label=label,
        digest=digest(account.id, secret),
        sub_digest=digest(account.id, codec.subkey_secret(secret)),
        own_records_only=own_records_only,
    )
    record(actor, "key.create", account=account, subject=f"key {key.pk}", detail=label)
    return key, codec.encode(account.id, secret)


@transaction.atomic
def revoke(key: ApiKey, actor: Actor, *, subkey_only: bool = False) -> None:
    """Cuts off the servers linked with the key; unless `subkey_only`, the key, too. Doing it again is harmless."""
    now = timezone.now()
    key.subkey_revoked_at = key.subkey_revoked_at or now
    if not subkey_only:
        key.revoked_at = key.revoked_at or now
    key.save(update_fields=["revoked_at", "subkey_revoked_at"])
    action = "subkey.revoke" if subkey_only else "key.revoke"
    record(actor, action, account=key.account, subject=f"key {key.pk}", detail=key.label)


def find_by_api_key(text: str) -> ApiKey | None:
    """The key with that text, revoked or not. Raises MalformedKey."""
    account_id, secret = codec.decode(text)
    wanted = digest(account_id, secret)
    return _matching(ApiKey.objects.filter(digest=wanted).select_related("account").first(), wanted, sub=False)


def find_by_subkey(text: str) -> ApiKey | None:
    """The key whose subkey has that text, revoked or not. Raises MalformedKey."""
    account_id, secret = codec.decode(text)
    wanted = digest(account_id, secret)
    return _matching(ApiKey.objects.filter(sub_digest=wanted).select_related("account").first(), wanted, sub=True)


def subkey_text(api_key_text: str) -> str:
    account_id, secret = codec.decode(api_key_text)
    return codec.encode(account_id, codec.subkey_secret(secret))


def note_use(key: ApiKey, address: str) -> None:
    """Remembers when and from where a key was used last, to within ten minutes."""
    now = timezone.now()
    if key.last_used_at is not None and now - key.last_used_at < NOTE_EVERY:
        return
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=now, last_used_from=address or None)


def _matching(key: ApiKey | None, wanted: str, *, sub: bool) -> ApiKey | None:
    # The database looked up a keyed digest, whose order tells a guesser nothing; equality is settled here.
    if key is None or not hmac.compare_digest(key.sub_digest if sub else key.digest, wanted):
        return None
    return key
