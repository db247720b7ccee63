"""Signing in with name and password, with guessing limited."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from tklbam_hub.accounts.models import Account
from tklbam_hub.audit.log import Actor, record
from tklbam_hub.middleware import client_address
from tklbam_hub.throttle import limits

log = logging.getLogger(__name__)
BLOCKED_ATTRIBUTE = "sign_in_blocked"


class LimitedBackend(ModelBackend):
    """Django's own check of name and password; after too many failures no password is looked at for a while.

    A form may read `sign_in_blocked` off the request, to say so instead of "wrong password".
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Account | None:
        if username is None or password is None:
            return None
        address = client_address(request) if request is not None else ""
        name = username.casefold()[:150]
        if limits.is_blocked(limits.SIGN_IN, address, name):
            if request is not None:
                setattr(request, BLOCKED_ATTRIBUTE, True)
            log.warning("sign-in refused after too many failures: %s from %s", name, address)
            raise PermissionDenied
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if not isinstance(user, Account):
            limits.count_failure(limits.SIGN_IN, address, name)
            record(Actor(username, address), "sign-in.fail", account=_named(username))
            return None
        record(Actor(user.username, address), "sign-in", account=user)
        return user


def _named(username: str) -> Account | None:
    return Account.objects.filter(username=username).first()
