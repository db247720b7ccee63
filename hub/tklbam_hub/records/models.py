"""Backup records, as clients know them, and the sessions that were stored under each."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from tklbam_hub.accounts.models import ApiKey
from tklbam_hub.encrypted import EncryptedField
from tklbam_hub.storage.models import Storage


class BackupRecord(models.Model):
    """One server's backup. `number` is the id that people and clients use; it counts within the account."""

    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="backups")
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True, related_name="backups")
    storage = models.ForeignKey(Storage, on_delete=models.RESTRICT, related_name="backups")
    number = models.PositiveIntegerField()
    address = models.CharField(max_length=600)
    # Opaque to us: wrapped with a passphrase that never leaves the server it was made on.
    key = models.TextField()
    profile_id = models.CharField(max_length=200)
    server_id = models.CharField(max_length=200, blank=True, default="")
    label = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(null=True, blank=True, help_text="When the last good session ended.")
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes stored, all chains.")
    in_progress = models.BooleanField(default=False)
    # Of the sessions below, so that a list of ten thousand backups is one query. The chain is the last full session
    # and its increments; clients that do not say which kind a session was leave it empty.
    last_session_at = models.DateTimeField(null=True, blank=True)
    last_outcome = models.CharField(max_length=12, blank=True, default="")
    chain_began_at = models.DateTimeField(null=True, blank=True)
    chain_increments = models.PositiveIntegerField(default=0)
    verified_at = models.DateTimeField(null=True, blank=True)
    verified = models.CharField(max_length=10, blank=True, default="")
    # Hours; the account's where empty.
    overdue_after_hours = models.PositiveIntegerField(null=True, blank=True)
    muted = models.BooleanField(default=False, help_text="Announce nothing about this backup.")

    storage_access_key = models.CharField(max_length=200, blank=True, default="")
    storage_secret_key = EncryptedField(blank=True, default="")

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("account", "number"), name="one_number_an_account"),
            models.UniqueConstraint(fields=("account", "address"), name="one_record_an_address"),
        )

    def __str__(self) -> str:
        return f"#{self.number} {self.label}".rstrip()

    def overdue_hours(self) -> int:
        """How old the last good session may be; 0: as old as it likes. Loads `account` unless it was selected."""
        own = self.overdue_after_hours
        return int(self.account.overdue_after_hours if own is None else own)

    def due_at(self) -> datetime | None:
        hours = self.overdue_hours()
        return (self.updated_at or self.created_at) + timedelta(hours=hours) if hours else None

    def is_overdue(self, now: datetime | None = None) -> bool:
        due = self.due_at()
        return due is not None and (now or timezone.now()) > due


class BackupSession(models.Model):
    """One run of a backup, from its start to what became of it."""

    class Kind(models.TextChoices):
        UNKNOWN = "", "unknown"
        FULL = "full", "full"
        INCREMENT = "incremental", "incremental"

    class Outcome(models.TextChoices):
        RUNNING = "running", "running"
        COMPLETE = "complete", "complete"
        INCOMPLETE = "incomplete", "incomplete"
        FAILED = "failed", "failed"

    backup = models.ForeignKey(BackupRecord, on_delete=models.CASCADE, related_name="sessions")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    kind = models.CharField(max_length=12, choices=Kind.choices, blank=True, default=Kind.UNKNOWN)
    outcome = models.CharField(max_length=12, choices=Outcome.choices, default=Outcome.RUNNING)
    # Bytes that this session added, and what the backup held after it; None where the client said nothing.
    added = models.PositiveBigIntegerField(null=True, blank=True)
    total = models.PositiveBigIntegerField(null=True, blank=True)
    message = models.CharField(max_length=1000, blank=True, default="")

    class Meta:
        ordering = ("-started_at", "-id")
        indexes = (models.Index(fields=("backup", "-started_at"), name="sessions_of_a_backup"),)

    def __str__(self) -> str:
        return f"{self.backup_id} {self.started_at:%Y-%m-%d %H:%M} {self.outcome}"
