"""OpenStack Swift by its client library, logged in as duplicity's back end does: from SWIFT_* in the environment."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from .faults import Entry, Fault, Store

_NAMES = {
    "user_domain_name": "USER_DOMAIN_NAME",
    "user_domain_id": "USER_DOMAIN_ID",
    "project_domain_name": "PROJECT_DOMAIN_NAME",
    "project_domain_id": "PROJECT_DOMAIN_ID",
    "project_id": "PROJECT_ID",
    "project_name": "PROJECT_NAME",
    "tenant_name": "TENANTNAME",
    "endpoint_type": "ENDPOINT_TYPE",
    "user_id": "USERID",
    "tenant_id": "TENANTID",
    "region_name": "REGIONNAME",
}


class SwiftStore(Store):
    """Settings: `container`, `prefix` (empty, or with its slash at the end), `policy`."""

    def __init__(self, settings: dict[str, Any], options: list[str], timeout: int) -> None:
        self._library = importlib.import_module("swiftclient")
        self._container: str = settings["container"]
        self._prefix: str = settings["prefix"]
        self._policy: str = settings["policy"]
        given = {name: os.environ.get(f"SWIFT_{name}", "") for name in ("USERNAME", "PASSWORD", "AUTHURL")}
        words: dict[str, Any] = {"timeout": timeout, "retries": 2}
        if os.environ.get("SWIFT_PREAUTHURL") and os.environ.get("SWIFT_PREAUTHTOKEN"):
            words.update(preauthurl=os.environ["SWIFT_PREAUTHURL"], preauthtoken=os.environ["SWIFT_PREAUTHTOKEN"])
        else:
            words.update(user=given["USERNAME"], key=given["PASSWORD"], authurl=given["AUTHURL"])
        version = os.environ.get("SWIFT_AUTHVERSION") or "1"
        if version != "1":
            importlib.import_module("keystoneclient")
        more = {name: os.environ[f"SWIFT_{key}"] for name, key in _NAMES.items() if os.environ.get(f"SWIFT_{key}")}
        self._connection = self._library.Connection(auth_version=version, os_options=more, **words)

    def _missing(self, error: Exception, kind: str, what: str) -> Exception:
        if getattr(error, "http_status", None) == 404:
            return Fault(f"not found: {what}", kind)
        return Fault(_words(error))

    def entries(self) -> list[Entry]:
        try:
            _, found = self._connection.get_container(
                self._container, prefix=self._prefix or None, delimiter="/", full_listing=True
            )
        except self._library.ClientException as error:
            raise self._missing(error, "missing", self._container) from error
        return [
            Entry(each["name"][len(self._prefix) :], each["bytes"], _time(each["last_modified"]))
            for each in found
            if "name" in each and each["name"] != self._prefix
        ]

    def make(self) -> None:
        try:
            self._connection.put_container(
                self._container, headers={"X-Storage-Policy": self._policy} if self._policy else None
            )
        except self._library.ClientException as error:
            raise Fault(_words(error)) from error

    def get(self, name: str, path: str) -> None:
        try:
            _, body = self._connection.get_object(self._container, self._prefix + name, resp_chunk_size=1 << 16)
            with open(path, "wb") as out:
                for chunk in body:
                    out.write(chunk)
        except self._library.ClientException as error:
            raise self._missing(error, "absent", name) from error

    def put(self, name: str, path: str) -> None:
        try:
            with open(path, "rb") as content:
                self._connection.put_object(
                    self._container, self._prefix + name, content, content_length=os.path.getsize(path)
                )
        except self._library.ClientException as error:
            raise Fault(_words(error)) from error

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                # Large objects that duplicity cut up take their segments along.
                self._connection.delete_object(self._container, self._prefix + name)
            except self._library.ClientException as error:
                if error.http_status != 404:
                    raise Fault(_words(error)) from error

    def free(self) -> int | None:
        try:
            found = self._connection.head_container(self._container)
        except self._library.ClientException:
            return None
        quota = found.get("x-container-meta-quota-bytes", "")
        return max(0, int(quota) - int(found["x-container-bytes-used"])) if quota.isdigit() else None

    def clock(self) -> float | None:
        date = self._connection.head_account().get("date")
        return parsedate_to_datetime(date).timestamp() if date else None

    def close(self) -> None:
        self._connection.close()


def _words(error: Exception) -> str:
    status = getattr(error, "http_status", None) or ""
    reason = getattr(error, "http_reason", None) or getattr(error, "msg", None) or str(error)
    return f"{status} {reason}".strip()


def _time(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()  # noqa: UP017 - any Python 3
