"""Nobody signs in by guessing, acts in another's name, or sees what is another's, through the console."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from tklbam_hub.accounts.models import Account

pytestmark = pytest.mark.usefixtures("rollback")
NAMES = itertools.count()
OPEN = {"sign-in", "sign-out", "theme"}


def person(**rights: bool) -> Account:
    from tests import hub_fleet

    return hub_fleet.account(f"security-{next(NAMES)}", **rights)


def browser(account: Account | None = None, **options: Any) -> Client:
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1", **options)
    if account is not None:
        client.force_login(account, "tklbam_hub.accounts.signin.LimitedBackend")
    return client


def pages() -> dict[str, str]:
    """Every address of the console, by its name."""
    from django.urls import reverse

    from tklbam_hub.console.urls import urlpatterns

    kinds = {"int": 1, "str": "debian-12"}
    found = {}
    for pattern in urlpatterns:
        words = {word: kinds[kind] for kind, word in re.findall(r"<(\w+):(\w+)>", str(pattern.pattern))}
        found[str(pattern.name)] = reverse(f"console:{pattern.name}", kwargs=words)
    return found


def test_strangers_see_nothing_but_the_way_in() -> None:
    addresses = pages()
    assert len(addresses) >= 17
    stranger = browser()
    for name in addresses.keys() - OPEN:
        answer = stranger.get(addresses[name])
        assert answer.status_code == 302, name
        assert answer.headers["Location"].startswith("/sign-in?next="), name
        assert stranger.post(addresses[name]).status_code in (302, 405), name


def test_forms_without_their_token_change_nothing() -> None:
    from tests import hub_fleet

    account = person()
    backup = hub_fleet.backup(account, hub_fleet.storage(account=account), 1, label="mine")
    forger = browser(account, enforce_csrf_checks=True)
    addresses = pages()
    for name, fields in {
        "backup-settings": {"label": "yours"},
        "backup-delete": {"confirmation": "1"},
        "keys": {"label": "yours"},
        "account": {"form": "notifications", "notifications-overdue_after_hours": "0"},
        "sign-out": {},
        "theme": {"theme": "dark"},
    }.items():
        answer = forger.post(addresses[name], fields)
        assert answer.status_code == 403, name
        assert "Please try again" in answer.content.decode()
    backup.refresh_from_db()
    account.refresh_from_db()
    assert (backup.label, account.api_keys.count(), account.overdue_after_hours) == ("mine", 0, 48)
    assert forger.get("/").status_code == 200


def test_nothing_is_changed_by_following_a_link() -> None:
    from tests import hub_fleet
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.audit.models import AuditEntry

    account = person(staff=True)
    hub_fleet.backup(account, hub_fleet.storage(account=account), 1, label="mine")
    keys.create(account, "a key", OPERATOR)
    # Reading a key packet is written down, and changes nothing.
    written = AuditEntry.objects.exclude(action="backup.key-read")
    before = written.count()
    client = browser(account)
    for name, address in pages().items():
        client.get(f"{address}?confirmation=1&label=yours&theme=dark&form=email&password=a+horse+and+a+battery")
        assert written.count() == before, name
    assert account.backups.get().label == "mine"
    assert account.api_keys.get().revoked_at is None


def test_forms_write_what_they_show_and_nothing_that_a_server_may_write_meanwhile() -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tests import hub_fleet

    account = person(staff=True)
    hub_fleet.backup(account, hub_fleet.storage(account=account), 1, label="mine")
    client = browser(account)
    fresh = "another horse, another battery"
    for path, fields in (
        ("/backups/1/settings", {"label": "shop", "overdue_after_hours": "7"}),
        (f"/accounts/{account.pk}", {"email": "", "max_gb": "7"}),
        ("/account", {"form": "notifications", "notifications-overdue_after_hours": "7"}),
        ("/account", {"form": "email", "email-email": "x@example.org", "email-password": hub_fleet.PASSWORD}),
        (
            "/account",
            {
                "form": "password",
                "password-old_password": hub_fleet.PASSWORD,
                "password-new_password1": fresh,
                "password-new_password2": fresh,
            },
        ),
    ):
        with CaptureQueriesContext(connection) as caught:
            assert client.post(path, fields).status_code == 302, path
        updates = [query["sql"] for query in caught if query["sql"].startswith("UPDATE")]
        assert [sql for sql in updates if "_backuprecord" in sql or "_account" in sql], path
        written = " ".join(updates)
        for column in ("next_backup_number", "updated_at", "in_progress", "last_outcome", '"size"', '"key"'):
            assert column not in written, (path, column)


def test_another_accounts_pages_are_not_found(archive: bytes) -> None:
    from tests import hub_fleet
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.profiles import archives

    # An operator's own rights end at others' backups, too.
    victim, thief = person(), person(staff=True)
    hub_fleet.backup(victim, hub_fleet.storage(account=victim), 7, hub_fleet.daily(2), label="hush: plans")
    key, _ = keys.create(victim, "hush: key", OPERATOR)
    profile = archives.add("hush-profile", archive, OPERATOR, account=victim)
    client = browser(thief)
    paths = ["/backups/7", "/backups/7/settings", "/backups/7/key", "/backups/7/delete", f"/keys/{key.pk}/revoke"]
    paths += [f"/profiles/version/{profile.pk}", f"/profiles/version/{profile.pk}/withdraw"]
    paths += ["/profiles/id/hush-profile", "/backups/99999999999999999999"]
    for path in paths:
        assert client.get(path).status_code == 404, path
        assert client.post(path, {"confirmation": "7", "label": "x"}).status_code in (404, 405), path
    for path in ("/", "/keys", "/profiles", "/activity", "/account"):
        assert "hush" not in client.get(path).content.decode(), path
    assert victim.backups.get().label == "hush: plans"
    key.refresh_from_db()
    assert key.revoked_at is None


def test_labels_are_text_in_every_place() -> None:
    from django.utils.html import escape

    from tests import hub_fleet
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import Actor

    account = person()
    place = hub_fleet.storage(account=account, name=hub_fleet.HOSTILE[:80])
    runs = [hub_fleet.Ran(1, "full", "failed", message=hub_fleet.HOSTILE)]
    fields = dict.fromkeys(("label", "server_id", "profile_id", "address"), hub_fleet.HOSTILE)
    hub_fleet.backup(account, place, 1, runs, **fields)
    key, _ = keys.create(account, hub_fleet.HOSTILE[:80], Actor(hub_fleet.HOSTILE))
    client = browser(account)
    paths = ["/", "/backups/1", "/backups/1/settings", "/backups/1/delete", "/keys", f"/keys/{key.pk}/revoke"]
    for path in [*paths, "/activity", "/account", f"/?q={hub_fleet.HOSTILE}"]:
        html = client.get(path).content.decode()
        assert "<script>document" not in html, path
        assert "<img" not in html, path
        assert escape(hub_fleet.HOSTILE[:60]) in html, path
    name = client.get("/backups/1/key").headers["Content-Disposition"]
    assert re.fullmatch(r'attachment; filename="[a-z0-9._-]+"', name)


def test_the_policy_forbids_everything_inline_and_from_elsewhere() -> None:
    answer = browser().get("/sign-in")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    html = answer.content.decode()
    assert not re.findall(r"<script(?! src=)|<style|style=|\son\w+=|javascript:|https?://", html)


def test_pages_are_kept_by_no_cache() -> None:
    client = browser(person())
    for path in ("/", "/keys", "/account", "/activity", "/profiles"):
        assert "no-store" in client.get(path).headers["Cache-Control"], path


def test_guessing_a_password_comes_to_a_wall_that_says_so() -> None:
    from tests import hub_fleet
    from tklbam_hub.throttle import limits

    account = person()
    client = browser()

    def attempt(password: str, address: str) -> Any:
        return client.post("/sign-in", {"username": account.username, "password": password}, REMOTE_ADDR=address)

    for _ in range(limits.SIGN_IN.per_address - 1):
        limits.count_failure(limits.SIGN_IN, "192.0.2.1", account.username)
    assert "The name or the password is wrong." in attempt("guessed", "192.0.2.1").content.decode()
    refused = attempt(hub_fleet.PASSWORD, "192.0.2.1")
    assert "Too many attempts." in refused.content.decode()
    assert attempt(hub_fleet.PASSWORD, "192.0.2.2").status_code == 302


@pytest.mark.parametrize("target", ["https://evil.example.org/", "//evil.example.org", "/\\evil.example.org"])
def test_no_form_leads_to_another_site(target: str) -> None:
    from tests import hub_fleet

    account = person()
    answer = browser().post("/theme", {"theme": "dark", "next": target})
    assert answer.headers["Location"] == "/"
    fields = {"username": account.username, "password": hub_fleet.PASSWORD, "next": target}
    assert browser().post("/sign-in", fields).headers["Location"] == "/"


def test_unknown_pages_and_refusals_are_pages_too() -> None:
    client = browser(person())
    lost = client.get("/nothing/here")
    assert lost.status_code == 404
    assert "There is nothing at this address" in lost.content.decode()
    refused = client.get("/profiles/upload")
    assert refused.status_code == 403
    assert "This page is for those who run this Hub." in refused.content.decode()
    # Only what is chosen from our own themes comes back.
    client.cookies["theme"] = '"><script>'
    assert "data-theme" not in client.get("/").content.decode()


def test_a_broken_page_is_a_page_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from tklbam_hub.console import listing

    def broken(account: Account) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(listing, "totals", broken)
    answer = browser(person(), raise_request_exception=False).get("/")
    assert answer.status_code == 500
    html = answer.content.decode()
    assert "Something broke" in html
    assert "secret inside" not in html
