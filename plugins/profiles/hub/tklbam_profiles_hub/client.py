"""The Hub's API, a method a call. Every method raises HubUnavailableError and HubError."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from tklbam_core.api import BackupRecord, Credentials, HubError, HubLocation, HubSession, HubUnavailableError

from . import answers
from .api_key import is_key
from .archive import write_archive
from .connection import Call, Connection, Patience
from .refusals import plain

DEFAULT_URL = "https://hub.turnkeylinux.org/api/backup/"
API_PATH = "/api/backup/"
MOST_LIST = 16 << 20
"""Bytes of the list of backups: a record is about 600, and an account has at most some thousand."""
MOST_TEXT = 1000
"""Characters of a line for people."""
MOST_ARCHIVE = 256 << 20
LIST_PATIENCE = Patience(total=120.0)
ARCHIVE_PATIENCE = Patience(total=900.0, read=30.0)
_HERE = re.compile(r"localhost|127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|::1")

T = TypeVar("T")


class HubClient:
    """Speaks to `hub` as the server that `subkey` stands for (empty: only `link` works)."""

    def __init__(self, hub: HubLocation, subkey: str = "", patience: Patience | None = None) -> None:
        self._url = base_url(hub.url)
        self._hub = hub
        self._subkey = subkey
        self._patience = patience

    def link(self, api_key: str) -> str:
        """The subkey for an API key."""
        return self._call(Call(method="GET", path="subkey/", fields={"apikey": api_key}), answers.subkey, api_key)

    def credentials(self, backup_id: str = "") -> Credentials:
        fields = self._extra(backup_id=backup_id)
        return self._call(Call(method="GET", path="credentials/", fields=fields), answers.credentials)

    def create(self, key: str, profile_id: str, server_id: str = "") -> BackupRecord:
        fields = {"key": key, "turnkey_version": profile_id, **({"server_id": server_id} if server_id else {})}
        return self._call(Call(method="POST", path="record/create/", fields=fields, repeatable=False), answers.record)

    def record(self, backup_id: str) -> BackupRecord:
        return self._same(backup_id, self._call(Call(method="GET", path=_record(backup_id)), answers.record))

    def set_key(self, backup_id: str, key: str) -> BackupRecord:
        call = Call(method="PUT", path=_record(backup_id), fields={"key": key})
        return self._same(backup_id, self._call(call, answers.record))

    def set_in_progress(self, backup_id: str, in_progress: bool, problem: str = "") -> None:
        fields = {"bool": str(in_progress), **self._extra(message=problem)}
        call = Call(method="PUT", path=f"{_record(backup_id)}inprogress/", fields=fields)
        self._connection(self._patience or Patience()).content(call)

    def stored(self, address: str, session: HubSession | None = None) -> BackupRecord | None:
        """Says that a session was stored at the address; returns the record as it is now, where the Hub says so."""
        fields = {"address": address}
        if session is not None:
            fields |= self._extra(
                kind=session.kind,
                outcome=session.outcome,
                size=str(session.size),
                added=str(session.added),
                verified=str(session.verified),
                message=session.message,
            )
        call = Call(method="PUT", path="record/update/", fields=fields)
        content = self._connection(self._patience or Patience()).content(call)
        try:
            return answers.record(json.loads(content))
        except (ValueError, RecursionError):  # the API promises no answer, so there is none to complain of
            return None

    def records(self) -> list[BackupRecord]:
        call = Call(method="GET", path="records/", most=MOST_LIST)
        return self._call(call, answers.records, patience=LIST_PATIENCE)

    def archive_timestamp(self, profile_id: str) -> datetime:
        call = Call(method="GET", path="archive/timestamp/", fields={"turnkey_version": profile_id})
        return self._call(call, answers.timestamp)

    def archive(self, profile_id: str, file: BinaryIO, spool: Callable[[], BinaryIO]) -> None:
        """Writes a profile's archive (.tar.gz) into an empty file; `spool` makes another one for the meantime."""
        call = Call(method="GET", path="archive/", fields={"turnkey_version": profile_id}, most=MOST_ARCHIVE)
        connection = self._connection(self._patience or ARCHIVE_PATIENCE)
        with spool() as answer:

            def receive(chunks: Any) -> None:
                answer.seek(0)
                answer.truncate()
                for chunk in chunks:
                    answer.write(chunk)

            connection.stream(call, receive)
            try:
                write_archive(answer, file)
            except answers.Nonsense as error:
                raise connection.nonsense(f"{call.path}: {error}") from error

    # -----------------------------------------------------------------------------------------------------------------

    def _call(self, call: Call, judge: Callable[[Any], T], api_key: str = "", patience: Patience | None = None) -> T:
        connection = self._connection(self._patience or patience or Patience(), api_key)
        answer = connection.json(call)
        try:
            return judge(answer)
        except answers.Nonsense as error:
            raise connection.nonsense(f"{call.path}: {error}") from error

    def _extra(self, **fields: str) -> dict[str, str]:
        """Fields beyond the classic API: for Hubs that the administrator named, which may know them."""
        if self._url == DEFAULT_URL:
            return {}
        # A message may name a file, and names are bytes.
        texts = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in fields.items() if value}
        return {name: plain(text)[:MOST_TEXT] for name, text in texts.items()}

    def _connection(self, patience: Patience, api_key: str = "") -> Connection:
        headers: Mapping[str, str] = {"User-Agent": f"tklbam-profiles-hub/{version('tklbam-profiles-hub')}"}
        if not api_key:
            if not is_key(self._subkey):
                raise HubError(
                    "the registry's key for the Hub (sub_apikey) is damaged", "Link anew: tklbam init --force API-KEY"
                )
            headers = {**headers, "subkey": self._subkey}
        return Connection(self._url, self._hub, headers, (api_key, self._subkey), patience)

    def _same(self, backup_id: str, found: BackupRecord) -> BackupRecord:
        if found.backup_id != backup_id:
            raise HubUnavailableError(
                f"the Hub was asked for backup #{backup_id} and answers with #{found.backup_id}",
                "Tell whoever runs it.",
            )
        return found


def base_url(text: str) -> str:
    """The API's base, ending in a slash. Raises HubUnavailableError for what is no URL, or would travel in the open."""
    url = (text or DEFAULT_URL).strip()
    try:
        parts = urlsplit(url)
        host, plain = parts.hostname or "", not (parts.username or parts.query or parts.fragment)
        known = parts.scheme == "https" or (parts.scheme == "http" and _HERE.fullmatch(host) is not None)
        parts.port  # noqa: B018 - raises ValueError where it is no number
    except ValueError:
        known = plain = False
        host = ""
    if not known or not plain or not host or not url.isprintable() or " " in url:
        raise HubUnavailableError(
            f"the Hub's address {url[:200]!a} is not used: it must be an https:// URL (http:// on this machine)",
            "Repair `hub-url` in the configuration, or TKLBAM_APIURL.",
        )
    if parts.path in ("", "/"):
        return f"{parts.scheme}://{parts.netloc}{API_PATH}"
    return url.rstrip("/") + "/"


def _record(backup_id: str) -> str:
    """The path of a record; an id that is none never gets into a URL."""
    if not answers.ID.fullmatch(backup_id):
        raise HubError(f"{backup_id[:80]!a} is no id of a backup", "`tklbam list` shows them.")
    return f"record/{backup_id}/"
