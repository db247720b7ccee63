"""API keys: made, shown once, revoked."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from tklbam_hub.accounts import keys
from tklbam_hub.accounts.models import ApiKey
from tklbam_hub.audit import log
from tklbam_hub.console import commands
from tklbam_hub.console.forms import NewKeyForm
from tklbam_hub.console.reader import account_of, page


@require_http_methods(["GET", "HEAD", "POST"])
@page
def overview(request: HttpRequest) -> HttpResponse:
    """The list and the form below it. A new key is in the answer to its own form and in no other."""
    account = account_of(request)
    form = NewKeyForm(request.POST or None)
    context: dict[str, object] = {"section": "keys"}
    if request.method == "POST" and form.is_valid():
        made, text = keys.create(
            account,
            form.cleaned_data["label"],
            log.of_request(request),
            own_records_only=form.cleaned_data["own_records_only"],
        )
        context |= {"made": made, "text": text, "link": commands.link(settings.PUBLIC_URL, text)}
        form = NewKeyForm()
    listed = ApiKey.objects.filter(account=account).annotate(backup_count=Count("backups")).order_by("-id")
    context |= {
        "form": form,
        "active": [key for key in listed if key.revoked_at is None],
        "revoked": [key for key in listed if key.revoked_at is not None],
    }
    return render(request, "console/keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks first: what is revoked can't be had back, and servers stop reaching the Hub."""
    key = get_object_or_404(ApiKey, account=account_of(request), pk=pk, revoked_at=None)
    if request.method == "POST":
        keys.revoke(key, log.of_request(request))
        messages.success(request, f"{key.label} is revoked.")
        return redirect("console:keys")
    return render(
        request, "console/key_revoke.html", {"section": "keys", "key": key, "backup_count": key.backups.count()}
    )
