"""Those who run a Hub look after its accounts in the console; nobody else does."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from tklbam_hub.accounts.models import Account

pytestmark = pytest.mark.usefixtures("rollback")
NAMES = itertools.count()
BACKEND = "tklbam_hub.accounts.signin.LimitedBackend"


def person(**rights: bool) -> Account:
    from tests import hub_fleet

    return hub_fleet.account(f"accounts-{next(NAMES)}", **rights)


def browser(account: Account | None = None) -> Client:
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1")
    if account is not None:
        client.force_login(account, BACKEND)
    return client


@pytest.fixture
def operator() -> Account:
    return person(staff=True)


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A webhook's receiver on loopback: its address, and the signatures and texts that it got."""
    got: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers["X-Hub-Signature-256"], json.loads(body)["text"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", got
        server.shutdown()
        thread.join()


def test_others_find_no_accounts_page(operator: Account) -> None:
    client = browser(person())
    for path in ("/accounts", "/accounts/new", f"/accounts/{operator.pk}", f"/accounts/{operator.pk}/password"):
        assert client.get(path).status_code == 403, path
        assert client.post(path, {"is_staff": "on", "password": "a new horse battery"}).status_code in (403, 405), path
    assert "All accounts" not in client.get("/account").content.decode()


def test_an_account_is_made_and_signs_in(operator: Account) -> None:
    from tklbam_hub.accounts.models import Account

    client = browser(operator)
    fields = {"username": "new-customer", "email": "new@example.org", "subscribed": "on", "password": "12345678901"}
    assert "entirely numeric" in client.post("/accounts/new", fields).content.decode()
    assert not Account.objects.filter(username="new-customer").exists()
    fields["password"] = "a horse and a battery"
    assert client.post("/accounts/new", fields).status_code == 302
    made = Account.objects.get(username="new-customer")
    assert (made.email, made.subscribed, made.is_staff, bool(made.webhook_secret)) == (
        "new@example.org",
        True,
        False,
        True,
    )
    sent = {"username": "new-customer", "password": fields["password"]}
    assert browser().post("/sign-in", sent).headers["Location"] == "/"
    assert "already exists" in client.post("/accounts/new", fields).content.decode()
    html = client.get("/accounts?q=new@EXAMPLE").content.decode()
    assert html.count('<tr role="row">') == 2


def test_limits_and_rights_are_changed_and_written_down(operator: Account) -> None:
    from tklbam_hub.audit.models import AuditEntry

    account = person()
    visitor = browser(account)
    client = browser(operator)
    fields = {"email": "", "max_backups": "3", "max_gb": "2.5"}
    assert client.post(f"/accounts/{account.pk}", fields).status_code == 302
    account.refresh_from_db()
    assert (account.max_backups, account.max_bytes, account.subscribed, account.is_active) == (
        3,
        2_500_000_000,
        False,
        False,
    )
    entry = AuditEntry.objects.filter(account=account, action="account.change").get()
    assert entry.actor == operator.username
    # A closed account is out at once.
    assert visitor.get("/").status_code == 302
    assert 'value="2.5"' in client.get(f"/accounts/{account.pk}").content.decode()


def test_operators_do_not_lock_themselves_out(operator: Account) -> None:
    client = browser(operator)
    assert client.post(f"/accounts/{operator.pk}", {"email": "me@example.org"}).status_code == 302
    operator.refresh_from_db()
    assert (operator.email, operator.is_staff, operator.is_active) == ("me@example.org", True, True)


def test_a_password_that_was_set_signs_everybody_else_out(operator: Account) -> None:
    account = person()
    visitor = browser(account)
    path = f"/accounts/{account.pk}/password"
    assert "too short" in browser(operator).post(path, {"password": "short"}).content.decode()
    assert visitor.get("/").status_code == 200
    assert browser(operator).post(path, {"password": "a horse and a battery"}).status_code == 302
    assert visitor.get("/").status_code == 302
    account.refresh_from_db()
    assert account.check_password("a horse and a battery")


def test_operators_read_everybodys_activity_and_others_their_own(operator: Account) -> None:
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR

    account = person()
    keys.create(account, "the key of somebody", OPERATOR)
    for reader, query, seen in ((operator, "", False), (operator, "?of=all", True), (person(), "?of=all", False)):
        html = browser(reader).get(f"/activity{query}").content.decode()
        assert ("the key of somebody" in html) == seen, (reader, query)
        assert (f"<div>{account.username}</div>" in html) == seen
    assert "the key of somebody" in browser(operator).get(f"/activity?of=all&q={account.username}").content.decode()
    assert "the key of somebody" in browser(account).get("/activity").content.decode()


def test_the_list_of_accounts_asks_as_much_however_long_it_is(operator: Account) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = browser(operator)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as caught:
            assert client.get("/accounts").status_code == 200
        counts.append(len(caught))
        for _ in range(5):
            person()
    assert counts[0] == counts[1]


def test_a_webhook_is_tried_from_its_page(
    receiver: tuple[str, list[tuple[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ipaddress

    from django.conf import settings

    url, got = receiver
    account = person()
    client = browser(account)
    assert "Send a test" not in client.get("/account").content.decode()
    account.webhook_url = url
    account.save()
    # An address inside is refused until the operator allows its network.
    refused = client.post("/account", {"form": "webhook-test"}, follow=True).content.decode()
    assert "127.0.0.1 is not an address of the world outside" in refused
    assert got == []
    monkeypatch.setattr(settings, "WEBHOOK_NETWORKS", (ipaddress.ip_network("127.0.0.0/8"),))
    assert (
        "The webhook took the test." in client.post("/account", {"form": "webhook-test"}, follow=True).content.decode()
    )
    ((signature, text),) = got
    assert signature.startswith("sha256=")
    assert account.username in text
