"""A backup's sessions, put together from what clients say: it runs, something was stored, it has ended.

Classic clients say only that; ours add how it went (`Told`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from tklbam_hub.records.models import BackupRecord, BackupSession

SILENT_END = "it ended without storing anything"
LOST = "it was never heard of again"
Kind, Outcome = BackupSession.Kind, BackupSession.Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a client may add: sizes in bytes, of all that is stored and of what the session added to it."""

    kind: str = ""
    outcome: str = ""
    size: int | None = None
    added: int | None = None
    verified: bool | None = None
    message: str = ""


@transaction.atomic
def begin(pk: int) -> None:
    """A session runs. One that still seemed to has failed: a server makes one backup at a time."""
    backup, now = _locked(pk), timezone.now()
    for lost in backup.sessions.filter(outcome=Outcome.RUNNING):
        _end(lost, Outcome.FAILED, now, LOST)
    BackupSession.objects.create(backup=backup, started_at=now)
    backup.in_progress = True
    backup.last_session_at, backup.last_outcome = now, Outcome.RUNNING
    backup.save(update_fields=["in_progress", "last_session_at", "last_outcome"])


@transaction.atomic
def stored(pk: int, told: Told) -> BackupRecord:
    """A session was stored at the backup's address; `told.outcome` may say that it was incomplete, or failed."""
    backup, now = _locked(pk), timezone.now()
    outcome = Outcome(told.outcome or Outcome.COMPLETE)
    session = backup.sessions.filter(outcome=Outcome.RUNNING).first()
    if session is None:
        session = BackupSession(backup=backup, started_at=now)
    session.kind = told.kind
    session.added, session.total = told.added, told.size
    _end(session, outcome, now, told.message)
    if outcome != Outcome.FAILED:
        backup.updated_at = now
        if told.kind == Kind.FULL:
            backup.chain_began_at, backup.chain_increments = session.started_at, 0
        elif told.kind == Kind.INCREMENT:
            backup.chain_increments += 1
    if told.size is not None:
        backup.size = told.size
    if told.verified is not None:
        _note_verified(backup, told.verified, now)
    backup.last_session_at, backup.last_outcome = session.started_at, outcome
    backup.save()
    return backup


@transaction.atomic
def end(pk: int, told: Told) -> None:
    """The run is over. A session of which nothing was stored has failed, unless the client says otherwise."""
    backup, now = _locked(pk), timezone.now()
    session = backup.sessions.filter(outcome=Outcome.RUNNING).first()
    if session is not None:
        outcome = Outcome(told.outcome or Outcome.FAILED)
        _end(session, outcome, now, told.message or (SILENT_END if outcome == Outcome.FAILED else ""))
        backup.last_outcome = outcome
    backup.in_progress = False
    backup.save(update_fields=["in_progress", "last_outcome"])


@transaction.atomic
def verified(pk: int, good: bool) -> BackupRecord:
    """A check of what is stored found it good, or not."""
    backup = _locked(pk)
    _note_verified(backup, good, timezone.now())
    backup.save(update_fields=["verified", "verified_at"])
    return backup


def _note_verified(backup: BackupRecord, good: bool, now: datetime) -> None:
    backup.verified, backup.verified_at = "good" if good else "bad", now


def _locked(pk: int) -> BackupRecord:
    return BackupRecord.objects.select_for_update().get(pk=pk)


def _end(session: BackupSession, outcome: BackupSession.Outcome, now: datetime, message: str) -> None:
    session.outcome, session.finished_at, session.message = outcome, now, message[:1000]
    session.save()
