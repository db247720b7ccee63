"""WebDAV with the standard library alone, as in duplicity's back end; passwords by Basic or Digest."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from urllib.parse import quote, unquote, urlsplit

from tklbam_core.api import EngineAddress

from ..access import Access, passwords
from ..bridge.faults import Entry, Fault, Store
from .base import Family

DAV = "{DAV:}"
_ASK = (
    b'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/>'
    b"<D:getlastmodified/></D:prop></D:propfind>"
)
_ASK_QUOTA = b'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/></D:prop></D:propfind>'
LARGEST_ANSWER = 256 << 20
"""Bytes of a listing that are read at most."""


class WebDav(Family):
    def engine(self) -> EngineAddress:
        access = self.access
        # duplicity asks at the terminal where no password is given, even of servers that want none.
        password = access.password() or ("none" if not access.user else "")
        return EngineAddress(
            url=self.address.url(user=access.user),
            options=(f"--ssl-cacert-file={access.ca_file}",) if access.ca_file else (),
            environment=passwords(password) if password else {},
        )

    def store(self) -> Store:
        self.engine()
        return WebDavStore(self.access)


class _Request(urllib.request.Request):
    def __init__(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> None:
        super().__init__(url, body, headers)
        self.method = method


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Notes that it was needed."""

    used = False

    def get_authorization(self, req: urllib.request.Request, chal: Mapping[str, str]) -> str | None:
        self.used = True
        return super().get_authorization(req, chal)


class WebDavStore(Store):
    def __init__(self, access: Access) -> None:
        address = access.address
        port = f":{address.port}" if address.port else ""
        scheme = "https" if address.scheme == "webdavs" else "http"
        self._host = f"{scheme}://{address.host}{port}"
        self._folder = f"/{address.path.strip('/')}/".replace("//", "/")
        known = urllib.request.HTTPPasswordMgrWithPriorAuth()
        if access.user:
            known.add_password(None, self._host, access.user, access.password(), is_authenticated=True)
        self._digest = _Digest(known)
        self._odd_port = address.port not in (None, 443 if scheme == "https" else 80)
        context = ssl.create_default_context(cafile=access.ca_file or None)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPBasicAuthHandler(known),
            self._digest,
        )
        self._timeout = access.timeout
        self._ahead: float | None = None

    def _ask(
        self, method: str, path: str, body: bytes | None = None, *, absent: str = "", **headers: str
    ) -> HTTPResponse:
        request = _Request(method, self._host + quote(path, safe="/~"), body, headers)
        try:
            answer: HTTPResponse = self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                kind = absent if error.code == 404 else ""
                moved = error.headers.get("Location") if 300 <= error.code < 400 else None
                where = f", it is at {moved}" if moved else ""
                raise Fault(f"{method} {path}: {error.code} {error.reason}{where}", kind) from error
        except urllib.error.URLError as error:
            raise Fault(str(error.reason)) from error
        if self._digest.used and self._odd_port:
            answer.close()
            raise Fault("the server wants a Digest password, which duplicity gives on the standard ports alone")
        date = answer.headers.get("Date")
        with suppress(TypeError, ValueError):
            self._ahead = parsedate_to_datetime(date).timestamp() - time.time() if date else None
        return answer

    def entries(self) -> list[Entry]:
        headers = {"Depth": "1", "Content-Type": "application/xml"}
        with self._ask("PROPFIND", self._folder, _ASK, absent="missing", **headers) as answer:
            tree = _parsed(answer.read(LARGEST_ANSWER))
        found = (self._entry(response) for response in tree.iter(f"{DAV}response"))
        return [entry for entry in found if entry is not None]

    def _entry(self, response: ElementTree.Element) -> Entry | None:
        place = urlsplit((response.findtext(f"{DAV}href") or "").strip()).path
        name = unquote(place).removeprefix(self._folder)
        if response.find(f".//{DAV}collection") is not None or not name or "/" in name:
            return None
        size = response.findtext(f".//{DAV}getcontentlength")
        if size is None or not size.strip().isdigit():
            raise Fault(f"the server does not tell the size of {name}")
        modified: datetime | None = None
        with suppress(TypeError, ValueError):
            modified = parsedate_to_datetime(response.findtext(f".//{DAV}getlastmodified") or "")
        return Entry(name, int(size), modified.timestamp() if modified else None)

    def make(self) -> None:
        parts = self._folder.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            folder = f"/{'/'.join(parts[:count])}/"
            try:
                self._ask("PROPFIND", folder, _ASK, absent="missing", Depth="0").close()
            except Fault as fault:
                if fault.kind != "missing":
                    raise
                self._ask("MKCOL", folder).close()

    def get(self, name: str, path: str) -> None:
        with self._ask("GET", self._folder + name, absent="absent") as answer, open(path, "wb") as out:
            length = answer.headers.get("Content-Length")
            while data := answer.read(1 << 16):
                out.write(data)
            if length is not None and out.tell() != int(length):
                raise Fault("connection closed before the end")

    def put(self, name: str, path: str) -> None:
        beside = f"{self._folder}.tklbam-{name}"
        try:
            with open(path, "rb") as content:
                # In memory, as duplicity does: what is stored this way is small.
                self._ask("PUT", beside, content.read()).close()
            target = self._host + quote(self._folder + name, safe="/~")
            self._ask("MOVE", beside, Destination=target, Overwrite="T").close()
        except BaseException:
            with suppress(Fault, OSError):
                self._ask("DELETE", beside).close()
            raise

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress_absent():
                self._ask("DELETE", self._folder + name, absent="absent").close()

    def free(self) -> int | None:
        try:
            with self._ask("PROPFIND", self._folder, _ASK_QUOTA, Depth="0") as answer:
                free = _parsed(answer.read(LARGEST_ANSWER)).findtext(f".//{DAV}quota-available-bytes")
        except Fault:
            return None
        return int(free) if free is not None and free.strip().isdigit() else None

    def clock(self) -> float | None:
        self._ask("OPTIONS", self._folder).close()
        return None if self._ahead is None else time.time() + self._ahead


class suppress_absent(suppress):
    """Passes over a Fault that says "absent"."""

    def __init__(self) -> None:
        super().__init__(Fault)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, Fault) and error.kind == "absent"


def _parsed(text: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise Fault("the server's answer declares entities, which no WebDAV server does")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Fault(f"the server's answer is no WebDAV listing ({error})") from error
