"""Signing in and out, and the theme: what works for everybody."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from tklbam_hub.accounts.models import Account
from tklbam_hub.audit import log
from tklbam_hub.console import frame
from tklbam_hub.console.forms import SignInForm


class SignIn(LoginView):
    """Name and password; guessing is slowed down by the backend (`accounts/signin.py`), which the form then says."""

    template_name = "console/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    if isinstance(request.user, Account):
        log.record(log.of_request(request), "sign-out", account=request.user)
    logout(request)
    return redirect("console:sign-in")


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keeps the choice in a cookie, so that a page comes in its colours at once and without a script."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = reverse("console:backups")
    response = HttpResponseRedirect(back)
    theme = request.POST.get("theme", "")
    if theme in frame.THEMES:
        # Not HttpOnly: the script that changes the theme without a reload writes it, too.
        response.set_cookie(
            frame.THEME_COOKIE, theme, max_age=frame.YEAR, samesite="Lax", secure=settings.PUBLIC.secure, httponly=False
        )
    return response
