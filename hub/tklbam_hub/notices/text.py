"""Announcements in words, and as what a webhook gets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from tklbam_hub.notices.models import Notice

SAYS = {
    Notice.Kind.OVERDUE: "is overdue",
    Notice.Kind.FAILED: "went wrong",
    Notice.Kind.RECOVERED: "is well again",
}


def subject(notices: Sequence[Notice]) -> str:
    """One line for all of an account's announcements of a run."""
    if len(notices) == 1:
        return _one_line(f"TKLBAM: backup {_name(notices[0])} {SAYS[Notice.Kind(notices[0].kind)]}")
    troubled = sum(notice.kind != Notice.Kind.RECOVERED for notice in notices)
    return (
        f"TKLBAM: {troubled} backups need attention" if troubled else f"TKLBAM: {len(notices)} backups are well again"
    )


def body(notices: Sequence[Notice]) -> str:
    return "\n".join([*(paragraph(notice) for notice in notices), f"The Hub: {settings.PUBLIC_URL}/", ""])


def paragraph(notice: Notice) -> str:
    backup, kind = notice.backup, Notice.Kind(notice.kind)
    lines = [f"Backup {_name(notice)} {SAYS[kind]}."]
    if kind == Notice.Kind.OVERDUE:
        lines.append(f"  Last stored: {_moment(backup.updated_at)}; expected every {backup.overdue_hours()} hours.")
    if notice.session is not None:
        lines.append(f"  Session of {_moment(notice.session.started_at)}: {notice.session.outcome}.")
        if notice.session.message:
            lines.append(f"  {_one_line(notice.session.message)}")
    lines.append(f"  {_page(backup.number)}")
    return "\n".join(lines) + "\n"


def payload(notice: Notice) -> dict[str, Any]:
    """What is posted, as JSON; `text` is what chat services show."""
    backup, session = notice.backup, notice.session
    return {
        "event": f"backup.{notice.kind}",
        "text": f"TKLBAM: backup {_name(notice)} {SAYS[Notice.Kind(notice.kind)]}",
        "notice": notice.pk,
        "backup_id": str(backup.number),
        "label": backup.label,
        "server_id": backup.server_id,
        "profile_id": backup.profile_id,
        "last_stored": backup.updated_at.isoformat() if backup.updated_at else None,
        "outcome": session.outcome if session else None,
        "message": session.message if session else "",
        "url": _page(backup.number),
    }


def _page(number: int) -> str:
    return f"{settings.PUBLIC_URL}{reverse('console:backup', args=[number])}"


def _name(notice: Notice) -> str:
    return f"#{notice.backup.number} ({notice.backup.label})" if notice.backup.label else f"#{notice.backup.number}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"
