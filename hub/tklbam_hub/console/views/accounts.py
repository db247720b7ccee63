"""All accounts, for those who run this Hub."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from tklbam_hub.accounts import service
from tklbam_hub.accounts.models import Account
from tklbam_hub.audit import log
from tklbam_hub.console import paging
from tklbam_hub.console.account_forms import AccountForm, NewAccountForm, PasswordForm
from tklbam_hub.console.reader import account_of, operators_page


@require_safe
@operators_page
def overview(request: HttpRequest) -> HttpResponse:
    q = request.GET.get("q", "").replace("\0", "").strip()[:200]
    accounts = Account.objects.annotate(backup_count=Count("backups"), held=Sum("backups__size")).order_by("username")
    if q:
        accounts = accounts.filter(Q(username__icontains=q) | Q(email__icontains=q))
    listed = paging.page_of(request, accounts)
    context = paging.context(listed) | {"section": "account", "accounts": list(listed), "q": q}
    return render(request, "console/accounts.html", context)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@operators_page
def create(request: HttpRequest) -> HttpResponse:
    form = NewAccountForm(request.POST or None, initial={"subscribed": True})
    if request.method == "POST" and form.is_valid():
        account = form.save(commit=False)
        account.is_superuser = account.is_staff
        try:
            service.create(account, form.cleaned_data["password"] or None, log.of_request(request))
        except ValidationError as error:
            form.add_error("password", ValidationError(error.messages))
        else:
            messages.success(request, f"The account {account.username} is made.")
            return redirect("console:accounts")
    return render(request, "console/account_new.html", {"section": "account", "form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@operators_page
def change(request: HttpRequest, pk: int) -> HttpResponse:
    account = get_object_or_404(Account, pk=pk)
    form = AccountForm(request.POST or None, instance=account, by=account_of(request))
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            form.store()
            changed = ", ".join(f"{name}={form.cleaned_data[name]}" for name in form.changed_data)
            actor = log.of_request(request)
            log.record(actor, "account.change", account=account, subject=account.username, detail=changed)
        messages.success(request, f"{account.username} is changed.")
        return redirect("console:accounts")
    return render(request, "console/account_change.html", {"section": "account", "changed": account, "form": form})


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@operators_page
def set_password(request: HttpRequest, pk: int) -> HttpResponse:
    account = get_object_or_404(Account, pk=pk)
    form = PasswordForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            service.set_password(account, form.cleaned_data["password"], log.of_request(request))
        except ValidationError as error:
            form.refuse(ValidationError(error.messages))
        else:
            messages.success(request, f"{account.username} has a new password, and is signed out everywhere.")
            return redirect("console:accounts")
    return render(request, "console/account_password.html", {"section": "account", "changed": account, "form": form})
