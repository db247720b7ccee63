"""Storage back ends: a place for backups and how servers get in."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.db import models
from django.utils import timezone

from tklbam_hub.encrypted import EncryptedField


class Storage(models.Model):
    """A place where backups go; `account` None offers it to everybody.

    `address` is the URL below which every backup gets one directory or prefix of its own: `file:///srv/backups`,
    `sftp://host/backups`, `s3://bucket/prefix`.
    """

    class Kind(models.TextChoices):
        PATH = "path", "A path: local, mounted, or on a server that clients reach by themselves"
        S3 = "s3", "An S3 bucket"

    class Mode(models.TextChoices):
        """How S3 credentials of one backup are made."""

        ASSUME_ROLE = "assume-role", "STS AssumeRole with a policy for the backup's prefix"
        FEDERATION = "federation", "STS GetFederationToken with a policy for the backup's prefix"
        STATIC = "static", "Keys that the operator made for each backup"

    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="storages"
    )
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.PATH)
    address = models.CharField(max_length=500)
    is_default = models.BooleanField(default=False, help_text="New backups go here.")
    price_per_gb_month = models.DecimalField(max_digits=10, decimal_places=5, null=True, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    mode = models.CharField(max_length=12, choices=Mode.choices, default=Mode.ASSUME_ROLE)
    region = models.CharField(max_length=60, blank=True, default="")
    sts_endpoint = models.CharField(max_length=300, blank=True, default="", help_text="Amazon's when empty.")
    s3_endpoint = models.CharField(max_length=300, blank=True, default="", help_text="Amazon's when empty.")
    role_arn = models.CharField(max_length=300, blank=True, default="")
    external_id = models.CharField(max_length=200, blank=True, default="")
    access_key = models.CharField(max_length=200, blank=True, default="")
    secret_key = EncryptedField(blank=True, default="")
    session_seconds = models.PositiveIntegerField(default=3600)
    may_delete = models.BooleanField(
        default=True,
        help_text="Servers may remove old sessions; without it they add and read, and destroy nothing.",
    )
    # Classic clients never say which backup they are about; what they get opens all of the account's or nothing.
    account_wide = models.BooleanField(
        default=True, help_text="Clients that name no backup get credentials for all backups of their key."
    )

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name

    def monthly_cost(self, size: int) -> Decimal | None:
        """What `size` bytes cost a month, where a price is known."""
        if self.price_per_gb_month is None:
            return None
        return self.price_per_gb_month * Decimal(size) / Decimal(10**9)
