"""What is kept of a backup: one session record a target, in the registry."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from .api.errors import TklbamError
from .backup import BackupOrder, BackupSummary
from .conf_values import without_password
from .copies import NothingStoredError, StoredSession, named, unverified
from .registry import Registry
from .sessions import DatabaseNote, SessionRecord

MOST_VANISHED = 1000
"""Paths that were gone before they could be stored, as many as are kept."""


def record_backup(registry: Registry, summary: BackupSummary, backup_id: str = "") -> None:
    """Keeps what each target got, and which target got nothing."""
    ended = datetime.now(UTC)
    stored = {session.address: session for session in summary.stored}
    for address in [*stored, *summary.failed]:
        record = SessionRecord(
            started=summary.started,
            ended=ended,
            address=address,
            outcome="failed",
            footprint=summary.size,
            footprint_files=summary.files,
            missing=tuple(summary.missing),
            warnings=tuple(summary.warnings),
            databases=tuple(
                DatabaseNote(
                    engine=report.engine,
                    server=report.server,
                    names=tuple(database.name for database in report.databases),
                )
                for report in summary.databases
            ),
            profile_id=summary.profile_id,
            backup_id=backup_id,
            extras_digest=summary.extras_digest,
        )
        if address in stored:
            record = _with_session(record, stored[address], summary)
        else:
            record = replace(record, error=summary.failed[address].what)
        registry.sessions.add(record)


def record_failure(
    registry: Registry, order: BackupOrder, started: datetime, error: Exception, profile_id: str = ""
) -> None:
    """Keeps that a backup failed before any target got anything."""
    own = error.failed if isinstance(error, NothingStoredError) else {}
    for address in dict.fromkeys(map(without_password, order.addresses)):
        registry.sessions.add(
            SessionRecord(
                started=started,
                ended=datetime.now(UTC),
                address=address,
                outcome="failed",
                error=what_happened(own.get(address, error)),
                profile_id=profile_id,
            )
        )


def what_happened(error: Exception) -> str:
    """An error of any kind in a line."""
    if isinstance(error, TklbamError):
        return error.what
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


def _missing_at(stored: StoredSession, summary: BackupSummary) -> tuple[str, ...]:
    """What is not in this session: another target's trouble leaves it whole."""
    others = [session for session in summary.stored if session is not stored]
    foreign = {named(address, error) for address, error in summary.failed.items()}
    foreign |= {unverified(session.address) for session in others}
    foreign |= {text for session in others for text in session.result.unread if text not in stored.result.unread}
    return tuple(text for text in summary.missing if text not in foreign)


def _with_session(record: SessionRecord, stored: StoredSession, summary: BackupSummary) -> SessionRecord:
    result = stored.result
    missing = _missing_at(stored, summary)
    return replace(
        record,
        outcome="incomplete" if missing else "complete",
        missing=missing,
        kind=result.session.kind,
        session=result.session.time,
        chain_started=stored.chain_started,
        chain_length=stored.chain_length,
        size=result.session.size,
        volumes=result.session.volumes,
        new_files=result.new_files,
        changed_files=result.changed_files,
        deleted_files=result.deleted_files,
        vanished=result.vanished[:MOST_VANISHED],
        target_size=stored.target_size,
        target_free=stored.target_free,
        verified=stored.verified,
        verification_problems=stored.problems,
    )
