"""An account, and the API keys of its servers."""

from __future__ import annotations

import secrets

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone

from tklbam_hub.encrypted import EncryptedField


class Account(AbstractUser):
    """One customer or team: signs in to the console by `username`; its servers act with its API keys.

    `is_staff` makes an operator, who may see and change every account. An account that is not `is_active` can neither
    sign in nor use its keys; one that is not `subscribed` can read and restore, and gets no new backups.
    """

    # API keys carry this number as 32 bits.
    id = models.AutoField(primary_key=True)
    subscribed = models.BooleanField(default=True)
    max_backups = models.PositiveIntegerField(null=True, blank=True, help_text="No limit when empty.")
    max_bytes = models.PositiveBigIntegerField(null=True, blank=True, help_text="Stored bytes; no limit when empty.")
    overdue_after_hours = models.PositiveIntegerField(
        default=48, help_text="A backup is overdue when its last good session is older than this. 0: never."
    )
    notify_email = models.BooleanField(default=True)
    webhook_url = models.CharField(max_length=500, blank=True, default="")
    # Signs what is sent to the webhook.
    webhook_secret = EncryptedField(blank=True, default=secrets.token_hex)
    next_backup_number = models.PositiveIntegerField(default=1, editable=False)

    class Meta(AbstractUser.Meta):
        pass

    def __str__(self) -> str:
        return self.username


class ApiKey(models.Model):
    """A key of an account, stored as keyed digests: of its secret, and of its subkey's that follows from it."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_keys")
    label = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    sub_digest = models.CharField(max_length=64, unique=True, editable=False)
    own_records_only = models.BooleanField(
        default=False, help_text="Servers with this key see only the backups that were made with it."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_from = models.GenericIPAddressField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # The servers that were linked with the key are cut off, and the key links no more of them.
    subkey_revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.label
