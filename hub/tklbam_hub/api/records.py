"""Calls about backup records."""

from __future__ import annotations

from datetime import datetime
from json.encoder import encode_basestring as quote
from typing import Any

from django.db.models import CharField
from django.db.models.functions import Cast
from django.http import HttpRequest

from tklbam_hub.accounts.models import ApiKey
from tklbam_hub.api import authentication
from tklbam_hub.api.calls import Answer
from tklbam_hub.api.errors import ApiError
from tklbam_hub.api.fields import Fields
from tklbam_hub.audit.log import Actor, of_request
from tklbam_hub.records import service, sessions
from tklbam_hub.records.models import BackupRecord, BackupSession

# Characters. A key packet of a 256-bit secret has about 200.
KEY_PACKET, WORD, ADDRESS, MESSAGE = 16384, 200, 600, 1000
KINDS = (BackupSession.Kind.FULL.value, BackupSession.Kind.INCREMENT.value)
OUTCOMES = tuple(
    outcome.value
    for outcome in (BackupSession.Outcome.COMPLETE, BackupSession.Outcome.INCOMPLETE, BackupSession.Outcome.FAILED)
)
COLUMNS = (
    *("key", "address", "number", "server_id", "profile_id", "created_at", "updated_at", "size", "label"),
    *("in_progress", "last_outcome", "verified", "verified_at"),
)
MOMENTS = ("created_at", "updated_at", "verified_at")


def listing(request: HttpRequest) -> Answer:
    key = authentication.by_subkey(request)
    # An account may have ten thousand. Rows, not objects, and moments as the database's text: to make datetimes of
    # them takes longer than all the rest.
    texts = {f"{name}_text": Cast(name, CharField()) for name in MOMENTS}
    columns = [f"{name}_text" if name in MOMENTS else name for name in COLUMNS]
    rows = service.visible_to(key).annotate(**texts).values_list(*columns)
    return f"[{','.join([encode(*row) for row in rows])}]"


def create(request: HttpRequest) -> Answer:
    key = authentication.by_subkey(request)
    fields = Fields(request)
    require_subscription(key)
    packet = fields.text("key", KEY_PACKET)
    profile_id, server_id = fields.line("turnkey_version", WORD), fields.line("server_id", WORD)
    if not profile_id:
        raise ApiError("Request.MissingArgument", "turnkey_version")
    try:
        made = service.create(key, actor(request, key), packet=packet, profile_id=profile_id, server_id=server_id)
    except service.QuotaExceeded as error:
        raise ApiError("BackupRecord.LimitExceeded", str(error)) from None
    except service.NoStorage as error:
        raise ApiError("Hub.NoStorage", str(error)) from None
    return shape_of(made)


def read(request: HttpRequest, number: str) -> Answer:
    return shape_of(find(authentication.by_subkey(request), number))


def write(request: HttpRequest, number: str) -> Answer:
    key = authentication.by_subkey(request)
    fields = Fields(request)
    backup = find(key, number)
    service.replace_key(backup, fields.text("key", KEY_PACKET), actor(request, key))
    return shape_of(backup)


def in_progress(request: HttpRequest, number: str) -> Answer:
    key = authentication.by_subkey(request)
    fields = Fields(request)
    runs, told = fields.flag("bool"), _told(fields)
    backup = find(key, number)
    if runs:
        require_subscription(key)
        try:
            service.check_room(key.account)
        except service.QuotaExceeded as error:
            raise ApiError("BackupRecord.LimitExceeded", str(error)) from None
        sessions.begin(backup.pk)
    else:
        sessions.end(backup.pk, told)
    return shape_of(find(key, number))


def update(request: HttpRequest) -> Answer:
    key = authentication.by_subkey(request)
    fields = Fields(request)
    address, told = fields.text("address", ADDRESS), _told(fields)
    backup = service.visible_to(key).filter(address=address).first()
    if backup is None:
        raise ApiError("BackupRecord.NotFound", "no backup of this account has that address")
    return shape_of(sessions.stored(backup.pk, told))


def verified(request: HttpRequest, number: str) -> Answer:
    key = authentication.by_subkey(request)
    good = Fields(request).flag("bool")
    return shape_of(sessions.verified(find(key, number).pk, good))


def shape_of(backup: BackupRecord) -> str:
    return encode(*(_plain(getattr(backup, column)) for column in COLUMNS))


def encode(
    key: str,
    address: str,
    number: int,
    server_id: str,
    profile_id: str,
    created: str,
    updated: str | None,
    size: int,
    label: str,
    runs: bool,
    outcome: str,
    verified: str,
    verified_at: str | None,
) -> str:
    """A record as clients read it, in JSON; `in_progress` and what follows is ours. Moments are ISO texts in UTC.

    Written out, for a list of ten thousand takes a third of the time that way.
    """
    return (
        f'{{"key":{quote(key)},"address":{quote(address)},"backup_id":"{number}","server_id":{quote(server_id)},'
        f'"turnkey_version":{quote(profile_id)},"date_created":"{_moment(created)}","date_updated":"{_moment(updated)}",'
        f'"size":{size},"description":{quote(label)},"in_progress":{"true" if runs else "false"},'
        f'"outcome":{quote(outcome)},"verified":{quote(verified)},"date_verified":"{_moment(verified_at)}"}}'
    )


def require_subscription(key: ApiKey) -> None:
    """Raises ApiError for an account that may read its backups and make no more of them."""
    if not key.account.subscribed:
        raise ApiError("BackupAccount.NotSubscribed", "this account has no subscription: ask the Hub's operator")


def actor(request: HttpRequest, key: ApiKey) -> Actor:
    return of_request(request, f"key {key.pk} ({key.label})")


def find(key: ApiKey, number: str) -> BackupRecord:
    # Longer than any number we gave: the database would refuse to compare it.
    found = None
    if number.isascii() and number.isdigit() and len(number) <= 9:
        found = service.visible_to(key).select_related("account", "storage").filter(number=int(number)).first()
    if found is None:
        raise ApiError("BackupRecord.NotFound", f"no backup {number[:40]} in this account")
    return found


def _told(fields: Fields) -> sessions.Told:
    return sessions.Told(
        kind=fields.optional_choice("kind", KINDS),
        outcome=fields.optional_choice("outcome", OUTCOMES),
        size=fields.optional_number("size"),
        added=fields.optional_number("added"),
        verified=fields.optional_flag("verified"),
        message=fields.optional("message", MESSAGE),
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, datetime) else value


def _moment(text: str | None) -> str:
    # As clients expect it, to the second; "" for never.
    return text[:19] if text else ""
