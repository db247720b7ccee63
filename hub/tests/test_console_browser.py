"""The console as people meet it: in a browser, on a desk and in a hand, light and dark, with scripts and without."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import DESKTOP, PHONE, chromium, visitor
from tests.hub_client import HubClient, profile_archive
from tests.hub_server import HubServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tklbam_hub.accounts.models import Account

PAGES = (
    *("/", "/backups/1", "/backups/3", "/backups/6", "/backups/1/delete", "/keys", "/activity?of=all&q=operator"),
    *("/account", "/profiles", "/profiles/id/{profile}", "/accounts?q={name}"),
)
# Made of nothing that is not on a page above.
MORE_PAGES = (
    *("/?q=nothing+like+it", "/backups/1/settings", "/keys/{key}/revoke", "/profiles/upload", "/accounts/new"),
    *("/profiles/version/{version}/withdraw", "/accounts/{account}", "/accounts/{account}/password"),
)
RESHAPED = ("color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block")
"""The rules of axe whose answer can change with the window and the theme: the markup stays the same."""
NAMES = itertools.count()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def person(models: None) -> Account:
    """Somebody who can sign in, and has nothing yet."""
    from tests import hub_fleet

    return hub_fleet.account(f"person-{os.getpid()}-{next(NAMES)}")


@pytest.fixture
def operator(models: None) -> tuple[Account, dict[str, Any]]:
    """Somebody with a backup in each state, keys, and the rights of an operator; and what the addresses are made of."""
    from tests import hub_fleet
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.profiles import archives

    account = hub_fleet.account(f"operator-{os.getpid()}-{next(NAMES)}", staff=True)
    hub_fleet.fleet(account, hub_fleet.storage(account=account))
    key, _ = keys.create(account, "Production servers", OPERATOR)
    revoked, _ = keys.create(account, "Old laptop", OPERATOR)
    keys.revoke(revoked, OPERATOR)
    archive = profile_archive({"dirindex.conf": b"/etc\n", "dirindex": b"", "packages": b"base-files\n"})
    profile = f"turnkey-core-{account.pk}"
    archives.add(profile, archive, OPERATOR)
    version = archives.add(profile, archive, OPERATOR, comment="again")
    return account, {
        "key": key.pk,
        "profile": profile,
        "version": version.pk,
        "account": account.pk,
        "name": account.username,
    }


def test_a_backup_is_seen_as_soon_as_it_is_made(browser: Browser, hub: HubServer, person: Account) -> None:
    from tests import hub_fleet

    with visitor(browser, hub.url) as somebody:
        page = somebody.page
        somebody.sign_in(person.username, hub_fleet.PASSWORD)
        assert "No backup yet" in somebody.text
        page.click("a:has-text('Make an API key')")
        page.fill("#id_label", "web servers")
        page.click("main button.primary")
        assert "It is shown this once." in somebody.text
        init = page.locator(".secret code").nth(1).inner_text()
        command, _, api_key = init.rpartition(" ")
        assert command == f"TKLBAM_APIURL={hub.api_url} tklbam init"
        page.goto(page.url)
        assert api_key not in page.content()

        server = HubClient(hub.api_url, api_key=api_key)
        server.link()
        record = server.create(server_id="web1")
        server.put("record/1/inprogress/", bool=True)
        page.click("nav >> text=Backups")
        row = page.locator("tbody tr")
        assert row.count() == 1
        assert "Running" in row.inner_text()
        server.put("record/update/", address=record["address"], kind="full", size=3 << 30, added=3 << 30, verified=True)
        server.put("record/1/inprogress/", bool=False)
        page.reload()
        assert "All backups are on time" in somebody.text
        for words in ("web1", "On time", "just now", "full", "3.0 GB", "Verified"):
            assert words in row.inner_text(), words

        page.click("tbody >> text=web1")
        assert page.title() == "web1 · TKLBAM Hub"
        assert page.locator(".command code").first.inner_text() == "tklbam restore 1 --simulate"
        page.click("text=Without the Hub")
        assert page.locator(".command code >> visible=true").last.inner_text() == (
            f"tklbam restore --address {record['address']} --keyfile web1-1.key"
        )
        with page.expect_download() as download:
            page.click("text=Key packet")
        assert download.value.suggested_filename == "web1-1.key"
        assert Path(download.value.path()).read_text() == f"{record['key']}\n"

        page.click("text=Settings")
        page.fill("#id_label", "The shop")
        page.fill("#id_overdue_after_hours", "5")
        page.click("main button.primary")
        assert page.inner_text("h1") == "The shop"
        assert "5 h after a good session" in somebody.text
        assert server.get("records/").json[0]["description"] == "The shop"

        page.click("text=Delete this record")
        page.fill("#id_confirmation", "2")
        page.click("main button.danger")
        assert "This backup is number 1." in somebody.text
        page.fill("#id_confirmation", "1")
        page.click("main button.danger")
        assert "The record of The shop is deleted." in somebody.text
        assert server.get("records/").json == []
        page.click("nav >> text=Activity")
        for action in ("key.create", "backup.create", "backup.key-read", "backup.change", "backup.forget"):
            assert action in somebody.text
        page.click("text=Sign out")
        somebody.go("/keys")
        assert page.title().startswith("Sign in")


def test_pages_keep_nobody_out_in_any_light_on_any_screen(
    browser: Browser, hub: HubServer, operator: tuple[Account, dict[str, Any]], tmp_path: Path
) -> None:
    from tests import hub_fleet

    account, parts = operator
    with visitor(browser, hub.url) as somebody:
        somebody.go("/sign-in")
        assert somebody.barriers() == []
        somebody.sign_in(account.username, hub_fleet.PASSWORD)
        for path in (*PAGES, *MORE_PAGES):
            somebody.go(path.format(**parts))
            assert somebody.page.locator("h1").count() == 1, path
            # Everything that can be opened is looked at open.
            somebody.page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
            somebody.look(DESKTOP, "light")
            assert somebody.barriers() == [], path
            assert somebody.overflow() == 0, path
            somebody.look(PHONE, "dark")
            assert path not in PAGES or somebody.barriers(*RESHAPED) == [], (path, "on a phone, dark")
            assert somebody.overflow() == 0, (path, "on a phone")
            somebody.look((320, 700), "light")
            assert somebody.overflow() == 0, (path, 320)
        for path, name in (("/", "backups"), ("/backups/1", "backup")):
            somebody.go(path)
            pictures = []
            for size, theme in itertools.product((DESKTOP, PHONE), ("light", "dark")):
                somebody.look(size, theme)
                picture = tmp_path / f"{name}-{size[0]}-{theme}.png"
                somebody.picture(picture)
                pictures.append(picture.read_bytes())
            assert len(set(pictures)) == 4


def test_hostile_text_stays_text(browser: Browser, hub: HubServer, operator: tuple[Account, dict[str, Any]]) -> None:
    from tests import hub_fleet

    with visitor(browser, hub.url) as somebody:
        somebody.sign_in(operator[0].username, hub_fleet.PASSWORD)
        somebody.go("/?q=" + "%3Cscript%3Edocument.title%3D1%3C/script%3E")
        assert somebody.page.input_value("#q") == "<script>document.title=1</script>"
        for path in ("/", "/backups/8", "/backups/8/settings", "/backups/8/delete"):
            somebody.go(path)
            assert hub_fleet.HOSTILE in somebody.text, path
            assert somebody.page.locator("img, main script, main b").count() == 0, path
            assert somebody.page.title() != "owned"
        # And had it become markup, the browser would not run it.
        injected = "<img src=/static/none onerror='self.owned=1'>"
        with somebody.page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            somebody.page.eval_on_selector(
                "main", "(main, html) => main.insertAdjacentHTML('beforeend', html)", injected
            )
        assert somebody.page.evaluate("self.owned") is None
        somebody.complaints.clear()


def test_everything_works_without_scripts(browser: Browser, hub: HubServer, person: Account) -> None:
    from tests import hub_fleet

    hub_fleet.backup(person, hub_fleet.storage(account=person), 1, hub_fleet.daily(5), label="plain")
    with visitor(browser, hub.url, java_script_enabled=False, viewport={"width": 390, "height": 844}) as somebody:
        page = somebody.page
        somebody.sign_in(person.username, hub_fleet.PASSWORD)
        page.select_option("#state", "good")
        page.click("text=Apply")
        page.click("tbody >> text=plain")
        assert page.locator(".command button").count() == 0
        assert page.locator("text=tklbam restore 1 --simulate").count() == 1
        page.click("text=As a table")
        assert page.locator("details table >> visible=true").count() == 1
        page.click("button[value=dark]")
        assert page.url.endswith("/backups/1")
        assert page.get_attribute("html", "data-theme") == "dark"
        page.click("text=Sign out")
        assert page.get_attribute("html", "data-theme") == "dark"


def test_keyboard_copy_buttons_and_theme_work(browser: Browser, hub: HubServer, person: Account) -> None:
    from tests import hub_fleet

    hub_fleet.backup(person, hub_fleet.storage(account=person), 1, label="it's $HOME; `x`")
    with visitor(browser, hub.url, permissions=["clipboard-read", "clipboard-write"]) as somebody:
        page = somebody.page
        somebody.sign_in(person.username, hub_fleet.PASSWORD)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        somebody.go("/backups/1")
        page.click(".command button >> nth=0")
        page.wait_for_selector(".command button:text-is('Copied') >> nth=0")
        assert page.evaluate("navigator.clipboard.readText()") == "tklbam restore 1 --simulate"
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)
        page.click("button[value=dark]")
        dark = page.evaluate(background)
        assert light != dark
        assert page.get_attribute("button[value=dark]", "aria-pressed") == "true"
        page.reload()
        assert page.evaluate(background) == dark
        page.click("button[value=auto]")
        page.reload()
        assert page.evaluate(background) == light
