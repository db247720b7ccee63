"""Overdue and failed backups are announced, once, by mail and webhook; and a webhook can't be turned inwards."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from tests.hub_client import HubClient
from tests.hub_server import HubServer

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


class _Mailbox(socketserver.StreamRequestHandler):
    """Enough of an SMTP server to take a mail."""

    mails: ClassVar[list[str]] = []

    def handle(self) -> None:
        self._say(220)
        while line := self.rfile.readline().decode().strip():
            if line.upper() == "DATA":
                self._say(354)
                lines = iter(self.rfile.readline, b".\r\n")
                self.mails.append(b"".join(lines).decode())
            self._say(221 if line.upper() == "QUIT" else 250)

    def _say(self, code: int) -> None:
        self.wfile.write(b"%d ok\r\n" % code)


class _Hook(BaseHTTPRequestHandler):
    posts: ClassVar[list[tuple[str, bytes, str]]] = []
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posts.append((self.path, body, self.headers["X-Hub-Signature-256"]))
        self.send_response(type(self).status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *words: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def served() -> Iterator[Callable[[type, type], int]]:
    """Starts servers on loopback ports for the length of a test."""
    running: list[tuple[socketserver.BaseServer, threading.Thread]] = []

    def start(kind: type, handler: type) -> int:
        server = kind(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        running.append((server, thread))
        return int(server.server_address[1])

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hook(served: Callable[[type, type], int]) -> str:
    _Hook.posts.clear()
    _Hook.status = 200
    return f"http://127.0.0.1:{served(ThreadingHTTPServer, _Hook)}/hook?room=1"


def test_trouble_is_announced_once_and_so_is_its_end(
    hub: HubServer, make_client: Callable[..., HubClient], served: Callable[[type, type], int], hook: str
) -> None:
    _Mailbox.mails.clear()
    hub.environment["TKLBAM_HUB_EMAIL_URL"] = f"smtp://127.0.0.1:{served(socketserver.ThreadingTCPServer, _Mailbox)}"
    hub.environment["TKLBAM_HUB_WEBHOOK_NETWORKS"] = "127.0.0.0/8"
    _mute_what_others_left()
    client = make_client(email="anna@example.org", webhook_url=hook, overdue_after_hours=1)
    late, broken = client.create(server_id="late"), client.create(server_id="broken")
    client.create(server_id="fine")
    muted = client.create(server_id="muted")
    backups = client.account.backups
    backups.filter(number=late["backup_id"]).update(created_at=_ago(hours=3))
    backups.filter(number=muted["backup_id"]).update(created_at=_ago(hours=3), muted=True)
    client.put("record/2/inprogress/", bool=True)
    client.put("record/2/inprogress/", bool=False, message="<b>the target</b> is full")

    planned = hub.command("notify", "--dry-run")
    assert f"overdue\t{client.account.username}\t#1 late" in planned
    assert f"failed\t{client.account.username}\t#2 broken" in planned
    assert _Mailbox.mails == []
    assert hub.command("notify") == "2 announcements sent\n"

    (mail,) = _Mailbox.mails
    assert "To: anna@example.org" in mail
    assert "Subject: TKLBAM: 2 backups need attention" in mail
    assert "Backup #1 (late) is overdue." in mail
    assert "Last stored: never; expected every 1 hours." in mail
    assert "<b>the target</b> is full" in mail
    assert f"{hub.url}/backups/2" in mail
    events = {post["event"]: post for post in (json.loads(body) for _, body, _ in _Hook.posts)}
    assert events.keys() == {"backup.overdue", "backup.failed"}
    assert (events["backup.failed"]["backup_id"], events["backup.failed"]["message"]) == (
        "2",
        "<b>the target</b> is full",
    )
    path, body, signature = _Hook.posts[0]
    expected = hmac.new(client.account.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
    assert (path, signature) == ("/hook?room=1", f"sha256={expected}")

    # Again, and failed again: nothing new is said.
    client.put("record/2/inprogress/", bool=True)
    client.put("record/2/inprogress/", bool=False)
    assert hub.command("notify") == "0 announcements sent\n"

    client.put("record/update/", address=broken["address"])
    client.put("record/update/", address=late["address"])
    assert hub.command("notify") == "2 announcements sent\n"
    assert "Subject: TKLBAM: 2 backups are well again" in _Mailbox.mails[1]
    assert hub.command("notify") == "0 announcements sent\n"


def test_what_did_not_arrive_is_tried_again(hub: HubServer, make_client: Callable[..., HubClient], hook: str) -> None:
    from tklbam_hub.notices.models import Notice

    hub.environment["TKLBAM_HUB_WEBHOOK_NETWORKS"] = "127.0.0.0/8"
    _mute_what_others_left()
    client = make_client(webhook_url=hook, overdue_after_hours=1)
    client.create()
    client.account.backups.update(created_at=_ago(hours=2))
    _Hook.status = 302
    with pytest.raises(AssertionError, match="1 announcements did not arrive"):
        hub.command("notify")
    assert len(_Hook.posts) == 1, "a redirect is not followed"
    notice = Notice.objects.get(backup__account=client.account)
    assert (notice.done, notice.problem) == (False, "webhook: 127.0.0.1 answered with status 302")
    _Hook.status = 204
    assert hub.command("notify") == "1 announcements sent\n"
    notice.refresh_from_db()
    assert notice.done


def test_who_can_not_be_told_is_not_counted_as_told(hub: HubServer, make_client: Callable[..., HubClient]) -> None:
    _mute_what_others_left()
    client = make_client(overdue_after_hours=1)
    client.create()
    client.account.backups.update(created_at=_ago(hours=2))
    assert hub.command("notify") == "0 announcements sent\n"
    assert client.account.backups.get().notices.get().kind == "overdue", "the console shows it"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::a00:1"),
        *("2002:7f00:1::", "ff02::1", "2001:db8::1"),
    ],
)
def test_addresses_inside_are_no_webhooks(models: None, address: str) -> None:
    from tklbam_hub.notices import webhook

    assert not webhook.is_allowed(address, ())


def test_addresses_of_the_world_are(models: None) -> None:
    from tklbam_hub.notices import webhook

    for address in ("1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"):
        assert webhook.is_allowed(address, ()), address
    assert webhook.is_allowed("127.0.0.5", LOOPBACK)
    assert not webhook.is_allowed("10.0.0.1", LOOPBACK)


def test_a_name_that_leads_inside_is_refused(models: None, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tklbam_hub.notices import webhook

    with pytest.raises(webhook.WebhookError, match="not an address of the world"):
        webhook.post(hook, "", {})
    with pytest.raises(webhook.WebhookError, match="not an address of the world"):
        webhook.post(hook.replace("127.0.0.1", "localhost"), "", {})
    assert _Hook.posts == []

    def two_faced(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two_faced)
    with pytest.raises(webhook.WebhookError, match="not an address of the world"):
        webhook.post("http://two-faced.example/", "", {})


def test_the_connection_goes_to_what_was_looked_at(models: None, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tklbam_hub.notices import webhook

    port = int(hook.split(":")[2].split("/")[0])
    asked: list[str] = []

    def changes_its_mind(host: str, port: int, *rest: Any, **options: Any) -> list[Any]:
        asked.append(host)
        ip = "127.0.0.1" if asked.count("rebinding.example") == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host if host[0].isdigit() else ip, port))]

    monkeypatch.setattr(socket, "getaddrinfo", changes_its_mind)
    webhook.post(f"http://rebinding.example:{port}/x", "", {"a": 1}, LOOPBACK)
    assert asked.count("rebinding.example") == 1
    assert [path for path, _, _ in _Hook.posts] == ["/x"]


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "gopher://x/", "ftp://x/", "x", "", "http://", "https://user:pass@host/"),
        *("http://host:99999/", "http://host/\r\nX: y", "http://ho st/", "http://[::1", "http://host:0/"),
    ],
)
def test_what_is_no_webhooks_address(models: None, url: str) -> None:
    from tklbam_hub.notices import webhook

    with pytest.raises(webhook.WebhookError):
        webhook.check_url(url)


def _mute_what_others_left() -> None:
    from tklbam_hub.records.models import BackupRecord

    BackupRecord.objects.update(muted=True)


def _ago(**span: int) -> Any:
    from django.utils import timezone

    return timezone.now() - timedelta(**span)
