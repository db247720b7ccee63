"""Profile archives by appliance id; every upload is a new version and the newest is served."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


class ProfileArchive(models.Model):
    """A profile as .tar.gz; `account` None serves it to everybody, else to that account before the public one."""

    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="profiles"
    )
    profile_id = models.CharField(max_length=200, db_index=True)
    version = models.PositiveIntegerField()
    # Whole seconds; what clients compare with the time of their own.
    timestamp = models.DateTimeField(default=timezone.now)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    content = models.BinaryField()
    # Detached, made by whoever made the archive; handed out as it is.
    signature = models.TextField(blank=True, default="")
    comment = models.CharField(max_length=200, blank=True, default="")
    withdrawn = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("profile_id", "-version")
        constraints = (
            models.UniqueConstraint(fields=("account", "profile_id", "version"), name="one_version_of_a_profile"),
        )

    def __str__(self) -> str:
        return f"{self.profile_id} v{self.version}"
