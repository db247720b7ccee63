"""The account: how it is reached and warned, its password, its storage and what it uses of it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.db import transaction
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from tklbam_hub.accounts import service
from tklbam_hub.accounts.models import Account
from tklbam_hub.audit import log
from tklbam_hub.console.forms import EmailForm, NotificationForm, save_fields
from tklbam_hub.console.reader import account_of, page
from tklbam_hub.notices import webhook
from tklbam_hub.records.models import BackupRecord
from tklbam_hub.storage import places
from tklbam_hub.storage.models import Storage

SAVED = {
    "notifications": "The notifications are saved.",
    "email": "The e-mail address is changed.",
    "password": "The password is changed. Other browsers are signed out.",
}


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@page
def overview(request: HttpRequest) -> HttpResponse:
    """Three forms on one page; the button that was pressed says which one it is about."""
    account = account_of(request)
    chosen = request.POST.get("form", "")
    forms = _forms(account, chosen, request)
    if chosen == "webhook-test":
        _test_webhook(request, account)
        return redirect("console:account")
    if chosen in forms and forms[chosen].is_valid():
        _save(request, chosen, forms[chosen])
        messages.success(request, SAVED[chosen])
        return redirect("console:account")
    usage = BackupRecord.objects.filter(account=account).aggregate(count=Count("pk"), bytes=Sum("size"))
    context = {
        "section": "account",
        "account": Account.objects.get(pk=account.pk),
        "forms": forms,
        "storages": _storages(account),
        "used_count": usage["count"],
        "used_bytes": usage["bytes"] or 0,
    }
    return render(request, "console/account.html", context)


def _forms(account: Account, chosen: str, request: HttpRequest) -> dict[str, Any]:
    # Each form has an account of its own: what one refuses must not show in the others.
    def data(name: str) -> Any:
        return request.POST if name == chosen else None

    def fresh() -> Account:
        return Account.objects.get(pk=account.pk)

    password = PasswordChangeForm(fresh(), data("password"), prefix="password")
    password.fields["old_password"].label = "Your password"
    password.fields["old_password"].widget.attrs.pop("autofocus", None)
    password.fields["new_password2"].label = "New password, again"
    return {
        "notifications": NotificationForm(data("notifications"), instance=fresh(), prefix="notifications"),
        "email": EmailForm(data("email"), instance=fresh(), prefix="email"),
        "password": password,
    }


@transaction.atomic
def _save(request: HttpRequest, chosen: str, form: Any) -> None:
    actor = log.of_request(request)
    if isinstance(form, PasswordChangeForm):
        account = account_of(request)
        service.set_password(account, form.cleaned_data["new_password1"], actor)
        update_session_auth_hash(request, account)
        return
    save_fields(form)
    changed = ", ".join(name for name in form.changed_data if name != "password")
    log.record(actor, f"account.{chosen}", account=form.instance, detail=changed)


def _test_webhook(request: HttpRequest, account: Account) -> None:
    """Posts to the webhook that is stored, so that its receiver can be tried before something fails."""
    payload = {
        "event": "test",
        "text": f"TKLBAM: a test of the webhook of {account.username}",
        "url": settings.PUBLIC_URL,
    }
    log.record(log.of_request(request), "account.webhook-test", account=account, detail=account.webhook_url)
    try:
        webhook.post(account.webhook_url, account.webhook_secret, payload, settings.WEBHOOK_NETWORKS)
    except webhook.WebhookError as error:
        messages.error(request, f"The webhook does not work: {error}.")
    else:
        messages.success(request, "The webhook took the test.")


def _storages(account: Account) -> list[dict[str, Any]]:
    """The storage that the account may use, and what its backups hold there."""
    usable = Storage.objects.filter(Q(account=account) | Q(account=None))
    backups = BackupRecord.objects.filter(account=account).order_by()
    used = dict(backups.values("storage").annotate(bytes=Sum("size")).values_list("storage", "bytes"))
    default = places.default_for(account)
    return [
        {
            "storage": storage,
            "used": used.get(storage.pk, 0),
            "is_default": default is not None and default.pk == storage.pk,
        }
        for storage in usable
    ]
