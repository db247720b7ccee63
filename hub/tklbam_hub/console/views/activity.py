"""The audit log, as its account may read it; those who run the Hub may read all of it."""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tklbam_hub.audit.models import AuditEntry
from tklbam_hub.console import paging
from tklbam_hub.console.reader import account_of, page

ALL = "all"


@require_safe
@page
def overview(request: HttpRequest) -> HttpResponse:
    account = account_of(request)
    q = request.GET.get("q", "").replace("\0", "").strip()[:200]
    everything = account.is_staff and request.GET.get("of") == ALL
    entries = AuditEntry.objects.select_related("account")
    if not everything:
        entries = entries.filter(account=account)
    if q:
        fits = Q(action__icontains=q) | Q(subject__icontains=q) | Q(actor__icontains=q) | Q(detail__icontains=q)
        entries = entries.filter(fits | Q(account__username__icontains=q) if everything else fits)
    listed = paging.page_of(request, entries)
    context = paging.context(listed) | {
        "section": "activity",
        "entries": list(listed),
        "q": q,
        "everything": everything,
        "is_operator": account.is_staff,
    }
    return render(request, "console/activity.html", context)
