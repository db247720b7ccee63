"""What was announced, so that nothing is announced twice and the console can show it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from tklbam_hub.records.models import BackupRecord, BackupSession


class Notice(models.Model):
    """One announcement about a backup; the same `occasion` is announced once."""

    class Kind(models.TextChoices):
        OVERDUE = "overdue", "overdue"
        FAILED = "failed", "failed"
        RECOVERED = "recovered", "recovered"

    backup = models.ForeignKey(BackupRecord, on_delete=models.CASCADE, related_name="notices")
    session = models.ForeignKey(BackupSession, on_delete=models.SET_NULL, null=True, blank=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    occasion = models.CharField(max_length=60)
    created_at = models.DateTimeField(default=timezone.now)
    emailed_at = models.DateTimeField(null=True, blank=True)
    posted_at = models.DateTimeField(null=True, blank=True)
    # Why the last try failed; tried again at the next run, until `attempts` are used up.
    problem = models.CharField(max_length=300, blank=True, default="")
    attempts = models.PositiveIntegerField(default=0)
    done = models.BooleanField(default=False)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=("backup", "occasion"), name="one_notice_an_occasion"),)

    def __str__(self) -> str:
        return f"{self.backup} {self.kind}"
