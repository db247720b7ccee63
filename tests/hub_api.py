"""A Hub's API as the format says, small and in memory, and servers that misbehave: what the client is tried against."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import socket
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.ports import free_port

BASE = "/api/backup/"
MOMENT = "2026-11-25 03:00:00"


def encoded(user: int, secret: bytes) -> str:
    """A key as the format says: Base32 of number and secret, less leading `A`s and trailing `=`s."""
    return base64.b32encode(struct.pack("!L8s", user, secret)).decode().lstrip("A").rstrip("=")


API_KEY = encoded(7, b"\x01\x02\x03\x04\x05\x06\x07\xf8")
SUBKEY = encoded(7, hashlib.sha1(b"tklbam" + b"\x01\x02\x03\x04\x05\x06\x07\xf8").digest()[:8])


@dataclass(frozen=True)
class Asked:
    """A request as it came in. `sent` is the query of a GET, else the body's fields."""

    method: str
    path: str
    sent: dict[str, str]
    subkey: str | None


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass
class Api:
    """The API's state. `place` is where backups are stored, as the beginning of an address."""

    place: str = "file:///nowhere"
    credentials: Mapping[str, Any] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    archives: dict[str, tuple[Any, bytes]] = field(default_factory=dict)
    subscribed: bool = True
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def calls(self) -> list[str]:
        """What was asked since the last time, in short."""
        asked, self.asked = self.asked, []
        return [f"{each.method} {each.path}" for each in asked]

    def answer(self, asked: Asked) -> Any:
        self.asked.append(asked)
        path, sent = asked.path, asked.sent
        if path == "subkey/" and asked.method == "GET":
            if sent.get("apikey") != API_KEY:
                raise Refused(400, "HubAccount.InvalidApiKey: there is no such API key")
            return {"subkey": SUBKEY}
        if asked.subkey != SUBKEY:
            raise Refused(400, "BackupAccount.InvalidSubKey: there is no such subkey")
        if not self.subscribed:
            raise Refused(401, "BackupAccount.NotSubscribed: this account has no backups")
        match asked.method, path.strip("/").split("/"):
            case "GET", ["credentials"]:
                return dict(self.credentials)
            case "POST", ["record", "create"]:
                number = str(max(map(int, self.records), default=0) + 1)
                self.records[number] = {
                    "backup_id": number,
                    "address": f"{self.place}/{number}",
                    "key": sent["key"],
                    "turnkey_version": sent["turnkey_version"],
                    "server_id": sent.get("server_id"),
                    "date_created": MOMENT,
                    "date_updated": None,
                    "size": 0,
                    "description": f"label {number}",
                }
                return self.records[number]
            case "GET", ["record", number]:
                return self._record(number)
            case "PUT", ["record", "update"]:
                found = [each for each in self.records.values() if each["address"] == sent["address"]]
                if not found:
                    raise Refused(404, "BackupRecord.NotFound: no backup is stored there")
                found[0]["date_updated"] = MOMENT
                return None
            case "PUT", ["record", number]:
                self._record(number)["key"] = sent["key"]
                return self._record(number)
            case "PUT", ["record", number, "inprogress"]:
                self._record(number)
                return None
            case "GET", ["records"]:
                return list(self.records.values())
            case "GET", ["archive", "timestamp"]:
                return {"archive_timestamp": self._archive(sent["turnkey_version"])[0]}
            case "GET", ["archive"]:
                content = self._archive(sent["turnkey_version"])[1]
                return {"archive_content": base64.urlsafe_b64encode(content).decode()}
        raise Refused(404, "<h1>Not Found</h1>")

    def _record(self, number: str) -> dict[str, Any]:
        if number not in self.records:
            raise Refused(404, "BackupRecord.NotFound: there is no such backup")
        return self.records[number]

    def _archive(self, profile_id: str) -> tuple[Any, bytes]:
        if profile_id not in self.archives:
            raise Refused(404, "BackupArchive.NotFound: there is no such profile")
        return self.archives[profile_id]


@contextlib.contextmanager
def served(api: Api, port: int = 0) -> Iterator[Api]:
    """The API on a loopback port for the length of the block; `api.url` is its base."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            sent = parts.query if self.command == "GET" else body
            path = parts.path.removeprefix(BASE)
            try:
                answer = api.answer(
                    Asked(self.command, path, dict(parse_qsl(sent, keep_blank_values=True)), self.headers["subkey"])
                )
                status, kind, content = 200, "application/json", b"" if answer is None else json.dumps(answer).encode()
            except Refused as error:
                status, kind, content = error.status, "text/plain", error.text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _serve

        def log_message(self, format: str, *args: object) -> None:
            """The tests look at `api.asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", port or free_port()), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}{BASE}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Script = Callable[[socket.socket], None]


@dataclass
class Hostile:
    """A server that does what a script says with every connection, once it has read the request's head."""

    script: Script
    requests: list[bytes] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def hostile(script: Script, wrap: Callable[[socket.socket], socket.socket] = lambda plain: plain) -> Iterator[Hostile]:
    """`wrap` makes a connection one of TLS."""
    found = Hostile(script)
    listener = socket.create_server(("127.0.0.1", 0))
    found.url = f"http://127.0.0.1:{listener.getsockname()[1]}{BASE}"
    threads: list[threading.Thread] = []
    ended = threading.Event()

    def serve(plain: socket.socket) -> None:
        # A client that has had enough closes the connection: that is what is hoped for.
        with contextlib.suppress(OSError), plain:
            plain.settimeout(20)
            with wrap(plain) as connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(65536)
                    if not part:
                        return
                    head += part
                found.requests.append(head)
                found.script(connection)

    def accept() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                threads.append(threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield found
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for thread in threads:
            thread.join(20)


def response(body: bytes, status: str = "200 OK", **headers: str) -> Script:
    """A script that sends a whole answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
    return lambda connection: connection.sendall(head + body)


def archive(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .tar.gz of files by name, or of members as they are given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.startswith("hooks.d/") else 0o644
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


PROFILE: Mapping[str, bytes] = {"dirindex.conf": b"/srv\n", "dirindex": b"", "packages": b"base-files\n"}
