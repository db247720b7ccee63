"""What a client says to a Hub, byte for byte, with nothing of ours in between: for tests of the server."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

KEY_PACKET = "AQBQAFAAvK0F0lq5aV9hYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg=="


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Message

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        assert self.status == 200, f"{self.status} {self.text}"
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and name of an error."""
        assert self.status != 200, self.text
        assert self.headers.get_content_type() == "text/plain"
        name, colon, description = self.text.partition(": ")
        assert colon, self.text
        assert description, self.text
        return self.status, name


class HubClient:
    """Calls the API of the Hub at `api_url`; `link` fetches the subkey that every other call sends."""

    account: Any = None
    key: Any = None
    _created = 0

    def __init__(self, api_url: str, api_key: str = "", subkey: str = "") -> None:
        self.api_url, self.api_key, self.subkey = api_url, api_key, subkey

    def link(self) -> None:
        self.subkey = self.get("subkey/", apikey=self.api_key).json["subkey"]

    def get(self, path: str, **fields: object) -> Answer:
        return self.call("GET", path, fields)

    def post(self, path: str, **fields: object) -> Answer:
        return self.call("POST", path, fields)

    def put(self, path: str, **fields: object) -> Answer:
        return self.call("PUT", path, fields)

    def call(
        self,
        method: str,
        path: str,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request. Python's own spelling of booleans is what classic clients send."""
        query = urllib.parse.urlencode(dict(fields or {}))
        url = self.api_url + path
        if method == "GET":
            url += f"?{query}" if query else ""
        elif body is None:
            body = query.encode()
        request = urllib.request.Request(url, method=method, data=body)
        if self.subkey:
            request.add_header("subkey", self.subkey)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), error.headers)

    def create(self, profile_id: str = "debian-12", key: str = "", **fields: object) -> Any:
        """A new record, with another key packet each time: the same one again would mean the same backup."""
        key = key or KEY_PACKET + self._created * "="
        self._created += 1
        return self.post("record/create/", key=key, turnkey_version=profile_id, **fields).json


def profile_archive(files: Mapping[str, bytes], *members: tarfile.TarInfo) -> bytes:
    """A .tar.gz of these files, and of members without content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return gzip.compress(packed.getvalue(), mtime=0)
