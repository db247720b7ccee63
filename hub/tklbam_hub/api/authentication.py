"""Who calls: by API key once, by subkey from then on."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.http import HttpRequest

from tklbam_hub.accounts import codec, keys
from tklbam_hub.accounts.models import ApiKey
from tklbam_hub.api.errors import ApiError
from tklbam_hub.middleware import client_address
from tklbam_hub.throttle import limits

log = logging.getLogger(__name__)
HEADER = "HTTP_SUBKEY"


def by_api_key(request: HttpRequest, text: str) -> ApiKey:
    """The key that links a server. Raises ApiError."""
    key = _guarded(request, text, keys.find_by_api_key)
    if key is None or key.revoked_at is not None:
        raise ApiError("HubAccount.InvalidApiKey", "no such API key: copy it again from the Hub")
    if not key.account.is_active:
        raise ApiError("HubAccount.Forbidden", "the account is closed")
    if key.subkey_revoked_at is not None:
        raise ApiError("HubAccount.Forbidden", "servers with this API key were cut off: make a new key")
    keys.note_use(key, client_address(request))
    return key


def by_subkey(request: HttpRequest) -> ApiKey:
    """The key behind the request's subkey. Raises ApiError."""
    text = str(request.META.get(HEADER, ""))
    if not text:
        raise ApiError("Request.MissingHeader", "subkey")
    try:
        key = _guarded(request, text, keys.find_by_subkey)
    except codec.MalformedKey:
        raise ApiError("BackupAccount.MalformedSubKey", "the subkey header holds no subkey") from None
    if key is None:
        raise ApiError("BackupAccount.InvalidSubKey", "no such subkey: link the server again")
    if key.revoked_at is not None or key.subkey_revoked_at is not None:
        raise ApiError("BackupAccount.InvalidSubKey", "the subkey was revoked: link the server with another API key")
    if not key.account.is_active:
        raise ApiError("HubAccount.Forbidden", "the account is closed")
    keys.note_use(key, client_address(request))
    return key


def _guarded(request: HttpRequest, text: str, find: Callable[[str], ApiKey | None]) -> ApiKey | None:
    """Looks a key up unless this address has guessed too often. A key that was revoked is no guess."""
    address = client_address(request)
    try:
        account = str(codec.decode(text)[0])
    except codec.MalformedKey:
        account = ""
    limit = limits.of_keys()
    if limits.is_blocked(limit, address, account):
        raise ApiError(
            "Request.TooManyAttempts", "too many wrong keys came from this address", retry_after=limit.seconds
        )
    try:
        key = find(text)
    except codec.MalformedKey:
        limits.count_failure(limit, address)
        if find is keys.find_by_api_key:
            return None
        raise
    if key is None:
        log.warning("a wrong key for account %s from %s", account, address)
        limits.count_failure(limit, address, account)
    return key
