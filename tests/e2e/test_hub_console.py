"""From the console's first page to a restore: every command that it shows is run as it stands, by the real client."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import chromium, visitor
from tests.e2e.small import conf, small_system
from tests.hub_server import HubServer, hub_server

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with hub_server(tmp_path_factory.mktemp("hub")) as server:
        yield server


def words(line: str) -> tuple[dict[str, str], list[str]]:
    """A command line as a shell takes it: the variables before it, and the words after `tklbam`."""
    parts = shlex.split(line)
    start = parts.index("tklbam")
    return dict(part.split("=", 1) for part in parts[:start]), parts[start + 1 :]


def test_the_commands_that_the_console_shows_work_as_they_stand(hub: HubServer, tmp_path: Path) -> None:
    with chromium() as browser, visitor(browser, hub.url) as somebody:
        page = somebody.page
        somebody.sign_in(hub.username, hub.password)
        somebody.go("/keys")
        page.fill("#id_label", "the shop's servers")
        page.click("main button.primary")
        variables, init = words(page.locator(".secret code").nth(1).inner_text())

        shop = small_system(tmp_path / "shop", **variables)
        conf(shop, f"hub-directory {hub.storage}")
        shop.write("/etc/hostname", "shop\n")
        shop.write("/srv/text", "of the shop\n")
        shop.write("/srv/noise", os.urandom(64 << 10))
        shop.tklbam(*init, "--force-profile=empty")
        shop.write("/etc/tklbam/overrides", "/srv\n")
        shop.tklbam("passphrase", input="open sesame\n")
        # The Hub is remembered: later commands need no variable.
        shop.environment = {}
        assert shop.json("backup")["outcome"] == "complete"

        page.click("nav >> text=Backups")
        assert "All backups are on time" in somebody.text
        assert page.locator("tbody tr").count() == 1
        row = page.inner_text("tbody tr")
        for said in ("On time", "just now", "full", "Verified"):
            assert said in row, row
        page.click("tbody a")
        assert page.locator("#sessions ~ * tbody tr").count() == 1
        page.click("text=Without the Hub")
        shown = page.locator("section[aria-labelledby=restore] .command code").all_inner_texts()
        with page.expect_download() as download:
            page.click(".heading >> text=Key packet")
        key = tmp_path / download.value.suggested_filename
        download.value.save_as(key)

    simulate, restore, simulate_alone, restore_alone = shown
    assert (simulate, simulate_alone) == (f"{restore} --simulate", f"{restore_alone} --simulate")
    linked = small_system(tmp_path / "linked", **variables)
    conf(linked, f"hub-directory {hub.storage}")
    linked.tklbam(*init)
    linked.tklbam(*words(restore)[1], input="open sesame\n")
    assert linked.path("/srv/text").read_text() == "of the shop\n"

    hub.stop()
    alone = small_system(tmp_path / "alone")
    conf(alone, f"hub-directory {hub.storage}")
    _, without_hub = words(restore_alone)
    without_hub[without_hub.index(key.name)] = str(key)
    alone.tklbam(*without_hub, input="open sesame\n")
    assert alone.path("/srv/text").read_text() == "of the shop\n"
