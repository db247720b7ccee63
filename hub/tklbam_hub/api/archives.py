"""Calls that fetch profiles."""

from __future__ import annotations

import base64

from django.http import HttpRequest

from tklbam_hub.api import authentication, records
from tklbam_hub.api.calls import Answer
from tklbam_hub.api.errors import ApiError
from tklbam_hub.api.fields import Fields
from tklbam_hub.profiles import archives
from tklbam_hub.profiles.models import ProfileArchive


def timestamp(request: HttpRequest) -> Answer:
    found = _find(request)
    return {"archive_timestamp": int(found.timestamp.timestamp())}


def content(request: HttpRequest) -> Answer:
    found = _find(request)
    return {
        "archive_content": base64.urlsafe_b64encode(bytes(found.content)).decode(),
        "archive_timestamp": int(found.timestamp.timestamp()),
        "archive_version": found.version,
        "archive_sha256": found.sha256,
        "archive_signature": found.signature,
    }


def _find(request: HttpRequest) -> ProfileArchive:
    key = authentication.by_subkey(request)
    profile_id = Fields(request).text("turnkey_version", records.WORD)
    found = archives.newest(key.account, profile_id)
    if found is None:
        raise ApiError("BackupArchive.NotFound", f"no profile for {profile_id}")
    return found
