"""Addresses of the API, below `api/backup/`; the slash at the end may be left out."""

from __future__ import annotations

from django.urls import re_path

from tklbam_hub.api import account, archives, records
from tklbam_hub.api.calls import call, not_found

ANY = dict.fromkeys(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"), not_found)

urlpatterns = [
    re_path(r"^subkey/?$", call(GET=account.subkey)),
    re_path(r"^credentials/?$", call(GET=account.storage_credentials)),
    re_path(r"^records/?$", call(GET=records.listing)),
    re_path(r"^record/create/?$", call(POST=records.create)),
    re_path(r"^record/update/?$", call(PUT=records.update)),
    re_path(r"^record/(?P<number>[^/]+)/?$", call(GET=records.read, PUT=records.write)),
    re_path(r"^record/(?P<number>[^/]+)/inprogress/?$", call(PUT=records.in_progress)),
    re_path(r"^record/(?P<number>[^/]+)/verified/?$", call(PUT=records.verified)),
    re_path(r"^archive/timestamp/?$", call(GET=archives.timestamp)),
    re_path(r"^archive/?$", call(GET=archives.content)),
    re_path(r"", call(**ANY)),
]
