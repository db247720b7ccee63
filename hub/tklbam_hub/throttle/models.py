"""Failed guesses, counted in windows of time, in the database: all processes and machines of a Hub count together."""

from __future__ import annotations

from django.db import models


class FailureCount(models.Model):
    """`scope`: what was guessed at (`api`, `sign-in`); `subject`: from where or on whom; `window`: its epoch start."""

    scope = models.CharField(max_length=20)
    subject = models.CharField(max_length=200)
    window = models.PositiveBigIntegerField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("scope", "subject", "window"), name="one_count_a_window"),)

    def __str__(self) -> str:
        return f"{self.scope} {self.subject}: {self.count}"
