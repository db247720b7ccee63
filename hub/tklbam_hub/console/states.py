"""What state a backup is in: one of few, the same for badges, the filter and the list of what needs attention."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from django.db.models import Q

from tklbam_hub.console import wording
from tklbam_hub.records.models import BackupRecord, BackupSession

if TYPE_CHECKING:
    from tklbam_hub.accounts.models import Account

OUTCOME = BackupSession.Outcome


class Standing(StrEnum):
    """How a backup stands; the first that holds is the one that is shown."""

    FAILED = "failed"
    OVERDUE = "overdue"
    RUNNING = "running"
    INCOMPLETE = "incomplete"
    NEW = "new"
    GOOD = "good"


ATTENTION = (Standing.FAILED, Standing.OVERDUE, Standing.INCOMPLETE)


@dataclass(frozen=True, slots=True)
class Badge:
    """A state as it is shown: never by colour alone. `level` is its class in the stylesheet."""

    level: str
    icon: str
    text: str


BADGES = {
    Standing.FAILED: Badge("bad", "bad", "Failed"),
    Standing.OVERDUE: Badge("bad", "late", "Overdue"),
    Standing.RUNNING: Badge("note", "running", "Running"),
    Standing.INCOMPLETE: Badge("warn", "warn", "Incomplete"),
    Standing.NEW: Badge("", "none", "No session yet"),
    Standing.GOOD: Badge("good", "good", "On time"),
}
OUTCOMES = {
    OUTCOME.RUNNING: Badge("note", "running", "Running"),
    OUTCOME.COMPLETE: Badge("good", "good", "Complete"),
    OUTCOME.INCOMPLETE: Badge("warn", "warn", "Incomplete"),
    OUTCOME.FAILED: Badge("bad", "bad", "Failed"),
}


def conditions(account: Account, now: datetime) -> dict[Standing, Q]:
    """For each state the condition that picks its backups among the account's; every backup fits exactly one.

    One query: it asks which intervals are in use.
    """
    failed = Q(in_progress=False, last_outcome=OUTCOME.FAILED)
    overdue = _overdue(account, now) & ~failed
    rest = Q(in_progress=False) & ~overdue & ~failed
    partial = Q(last_outcome=OUTCOME.INCOMPLETE)
    return {
        Standing.FAILED: failed,
        Standing.OVERDUE: overdue,
        Standing.RUNNING: Q(in_progress=True) & ~overdue,
        Standing.INCOMPLETE: rest & partial,
        Standing.NEW: rest & ~partial & Q(updated_at=None),
        Standing.GOOD: rest & ~partial & Q(updated_at__isnull=False),
    }


def attention(conditions: dict[Standing, Q]) -> Q:
    """What picks the backups that somebody should look at."""
    return reduce(or_, (conditions[state] for state in ATTENTION))


def _overdue(account: Account, now: datetime) -> Q:
    # Few intervals are in use at a time, and a comparison with a constant is one that every database does fast.
    backups = BackupRecord.objects.filter(account=account).order_by()
    late = Q(pk__in=())
    for hours in backups.values_list("overdue_after_hours", flat=True).distinct():
        allowed = account.overdue_after_hours if hours is None else hours
        if allowed:
            cut = now - timedelta(hours=allowed)
            late |= Q(overdue_after_hours=hours) & (Q(updated_at__lt=cut) | Q(updated_at=None, created_at__lt=cut))
    return late


def standing(backup: BackupRecord, now: datetime) -> Standing:
    """The state of one backup, its account at hand."""
    if not backup.in_progress and backup.last_outcome == OUTCOME.FAILED:
        return Standing.FAILED
    if backup.is_overdue(now):
        return Standing.OVERDUE
    if backup.in_progress:
        return Standing.RUNNING
    if backup.last_outcome == OUTCOME.INCOMPLETE:
        return Standing.INCOMPLETE
    return Standing.GOOD if backup.updated_at else Standing.NEW


def reason(backup: BackupRecord, state: Standing, message: str, now: datetime) -> str:
    """Why a backup needs attention, in a sentence; `message` is what its last session said."""
    expected = wording.span(timedelta(hours=backup.overdue_hours()))
    if backup.updated_at is None:
        since = f"No session was stored since it was set up {wording.span(now - backup.created_at)} ago"
    else:
        since = f"Last good session {wording.span(now - backup.updated_at)} ago"
    if state is Standing.OVERDUE:
        tail = "; one is running now" if backup.in_progress else ""
        return f"{since}, expected every {expected}{tail}."
    said = message.rstrip(".")
    if state is Standing.FAILED:
        return f"{said}. {since}." if said else f"The last session failed. {since}."
    return (
        f"{said}."
        if said
        else "The last session could not store everything: the server's own log names what is missing."
    )


def verification(backup: BackupRecord) -> Badge:
    """Whether what was stored last was looked at again, and found whole."""
    if not backup.verified:
        return Badge("", "none", "Not reported")
    if backup.verified == "bad":
        return Badge("bad", "bad", "Damaged")
    if backup.updated_at and backup.verified_at and backup.verified_at < backup.updated_at - timedelta(minutes=1):
        return Badge("", "shield", "Earlier session")
    return Badge("good", "shield", "Verified")
