"""What is worth an announcement: a backup that is overdue, the first failure of a row, and the first success after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from tklbam_hub.notices.models import Notice
from tklbam_hub.records.models import BackupRecord, BackupSession

Outcome = BackupSession.Outcome
GOOD = (Outcome.COMPLETE,)
BAD = (Outcome.FAILED, Outcome.INCOMPLETE)
# Older failures are history: a Hub that was switched off for a month does not send a month's mail.
FRESH = timedelta(days=3)
PAGE = 500


@dataclass(frozen=True, slots=True)
class Found:
    """Something to announce. `occasion` is the same however often it is found."""

    backup: BackupRecord
    kind: Notice.Kind
    occasion: str
    session: BackupSession | None = None


def find(now: datetime | None = None) -> Iterator[Found]:
    """Everything to announce that was not announced yet; nothing of muted backups and closed accounts."""
    now = now or timezone.now()
    backups = BackupRecord.objects.filter(muted=False, account__is_active=True).select_related("account", "storage")
    for backup in backups.order_by("pk").iterator(chunk_size=PAGE):
        for found in (_overdue(backup, now), _last_session(backup, now)):
            if found is not None and not backup.notices.filter(occasion=found.occasion).exists():
                yield found


@transaction.atomic
def note(found: Found) -> Notice:
    """Remembers an announcement before it is sent, so that it is sent once."""
    return Notice.objects.get_or_create(
        backup=found.backup, occasion=found.occasion, defaults={"kind": found.kind, "session": found.session}
    )[0]


def _overdue(backup: BackupRecord, now: datetime) -> Found | None:
    if not backup.is_overdue(now):
        return None
    since = backup.updated_at or backup.created_at
    return Found(backup, Notice.Kind.OVERDUE, f"overdue since {int(since.timestamp())}")


def _last_session(backup: BackupRecord, now: datetime) -> Found | None:
    if backup.last_outcome not in (*GOOD, *BAD) or backup.last_session_at is None:
        return None
    recent = list(_ended(backup)[:2])
    if not recent or (recent[0].finished_at or recent[0].started_at) < now - FRESH:
        return None
    last = recent[0]
    if last.outcome in BAD:
        again = len(recent) > 1 and recent[1].outcome == last.outcome
        return None if again else Found(backup, Notice.Kind.FAILED, f"session {last.pk}", last)
    # Good again: worth saying once trouble was announced.
    announced = backup.notices.exclude(kind=Notice.Kind.RECOVERED).order_by("-created_at").first()
    if announced is None or (last.finished_at or last.started_at) < announced.created_at:
        return None
    return Found(backup, Notice.Kind.RECOVERED, f"recovered after {announced.pk}", last)


def _ended(backup: BackupRecord) -> QuerySet[BackupSession]:
    return backup.sessions.exclude(outcome=Outcome.RUNNING).order_by("-started_at", "-id")
