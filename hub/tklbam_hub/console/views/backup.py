"""One backup: its page, its settings, its key packet, and the end of its record."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from tklbam_hub.audit import log
from tklbam_hub.console import charts, commands, listing, paging, states
from tklbam_hub.console.forms import BackupForm, DeleteBackupForm, save_fields
from tklbam_hub.console.reader import account_of, page
from tklbam_hub.records import service
from tklbam_hub.records.models import BackupRecord, BackupSession

SESSIONS = 20
CHARTED = 60
# Width, height and how many dates fit.
BROAD = (560, 220, 4)
NARROW = (340, 200, 3)
LEGEND = {charts.Kind.FULL: "Full", charts.Kind.INCREMENT: "Increment", charts.Kind.FAILED: "Failed"}
KINDS = {
    BackupSession.Kind.FULL: charts.Kind.FULL,
    BackupSession.Kind.INCREMENT: charts.Kind.INCREMENT,
    BackupSession.Kind.UNKNOWN: charts.Kind.FULL,
}


def _find(request: HttpRequest, number: int) -> BackupRecord:
    """The reader's backup of that number. Another account's is not found, as one that never was."""
    if number >= 1 << 31:
        raise Http404
    backups = listing.listed(account_of(request)).select_related("account", "storage", "api_key")
    backup = backups.filter(number=number).first()
    if backup is None:
        raise Http404
    return backup


@require_safe
@page
def show(request: HttpRequest, number: int) -> HttpResponse:
    backup = _find(request, number)
    now = timezone.now()
    state = states.standing(backup, now)
    sessions = BackupSession.objects.filter(backup=backup)
    listed = paging.page_of(request, sessions, SESSIONS)
    drawn = _drawn(sessions)
    last = sessions.exclude(outcome=states.OUTCOME.RUNNING).first()
    context: dict[str, Any] = paging.context(listed) | {
        "section": "backups",
        "backup": backup,
        "name": listing.name_of(backup),
        "state": states.BADGES[state],
        "verified": states.verification(backup),
        "cost": listing.monthly_cost(backup),
        "chain": listing.chain(backup),
        "overdue_hours": backup.overdue_hours(),
        "notices": list(backup.notices.all()[:5]),
        "sessions": [(each, states.OUTCOMES[states.OUTCOME(each.outcome)]) for each in listed],
        "restore": commands.restore(backup),
        "charts": _charts(drawn),
        "drawn": drawn[::-1],
    }
    if state in states.ATTENTION:
        context["why"] = states.reason(backup, state, last.message if last else "", now)
    return render(request, "console/backup.html", context)


def _drawn(sessions: QuerySet[BackupSession]) -> list[BackupSession]:
    """The latest sessions that ended, oldest first."""
    return list(reversed(sessions.exclude(outcome=states.OUTCOME.RUNNING)[:CHARTED]))


def _charts(drawn: list[BackupSession]) -> list[dict[str, Any]]:
    """What each session added, and what the backup held after it; each for a broad page and a narrow one."""
    failed = states.OUTCOME.FAILED
    added = [
        charts.Point(
            each.finished_at or each.started_at,
            each.added or 0,
            charts.Kind.FAILED if each.outcome == failed else KINDS[BackupSession.Kind(each.kind)],
        )
        for each in drawn
        if each.added is not None or each.outcome == failed
    ]
    totals = [
        charts.Point(each.finished_at or each.started_at, each.total, charts.Kind.FULL)
        for each in drawn
        if each.total is not None
    ]
    pictures = []
    if totals:
        sizes = [charts.line(totals, *shape) for shape in (BROAD, NARROW)]
        pictures.append({"title": "Stored in all", "id": "in-all", "shapes": sizes, "line": True})
    if any(point.kind is not charts.Kind.FAILED for point in added):
        bars = [charts.bars(added, *shape) for shape in (BROAD, NARROW)]
        kinds = {point.kind for point in added}
        legend = [(kind, title) for kind, title in LEGEND.items() if kind in kinds]
        pictures.append({"title": "Added by each session", "id": "added", "shapes": bars, "legend": legend})
    return pictures


@require_http_methods(["GET", "HEAD", "POST"])
@page
def change(request: HttpRequest, number: int) -> HttpResponse:
    backup = _find(request, number)
    form = BackupForm(request.POST or None, instance=backup)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            save_fields(form)
            changed = ", ".join(f"{name}: {form.cleaned_data[name]}" for name in form.changed_data)
            log.record(
                log.of_request(request),
                "backup.change",
                account=backup.account,
                subject=f"backup {number}",
                detail=changed,
            )
        messages.success(request, "Saved.")
        return redirect("console:backup", number)
    # A label that was refused must not stand in the headings.
    name = listing.name_of(_find(request, number)) if form.errors else listing.name_of(backup)
    return render(
        request, "console/backup_settings.html", {"section": "backups", "backup": backup, "name": name, "form": form}
    )


@require_safe
@page
def download_key(request: HttpRequest, number: int) -> HttpResponse:
    """The key packet as a file: opaque here, opened by the passphrase that only its owner knows."""
    backup = _find(request, number)
    if not backup.key:
        raise Http404
    log.record(log.of_request(request), "backup.key-read", account=backup.account, subject=f"backup {number}")
    return HttpResponse(
        backup.key.strip() + "\n",
        content_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{commands.key_file_of(backup)}"'},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page
def delete(request: HttpRequest, number: int) -> HttpResponse:
    backup = _find(request, number)
    form = DeleteBackupForm(request.POST or None, number=number)
    if request.method == "POST" and form.is_valid():
        service.forget(backup, log.of_request(request))
        messages.success(request, f"The record of {listing.name_of(backup)} is deleted.")
        return redirect("console:backups")
    context = {
        "section": "backups",
        "backup": backup,
        "name": listing.name_of(backup),
        "form": form,
        "session_count": backup.sessions.count(),
    }
    return render(request, "console/backup_delete.html", context)
