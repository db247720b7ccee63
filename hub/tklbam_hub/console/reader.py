"""Who reads a page: the signed-in account, by its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from tklbam_hub.accounts.models import Account

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page(view: Page[P]) -> Page[P]:
    """A view for signed-in people only, whose answers no cache keeps: not the browser's either, after signing out."""

    return never_cache(login_required(view))


def operators_page(view: Page[P]) -> Page[P]:
    """A page for those who run this Hub; others get 403."""

    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not account_of(request).is_staff:
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return page(guarded)


def account_of(request: HttpRequest) -> Account:
    """The account behind a request that `page` let through."""
    if not isinstance(request.user, Account):
        raise PermissionDenied
    return request.user
