"""Debian's Chromium for tests: what a person sees, what the browser complains about, and what keeps people out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa")
"""The rules of axe that stand for levels A and AA."""
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, with a user's directory that is fresh and goes with it."""
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # The driver runs an event loop in this thread, which makes Django think that it was called from one.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=120_000)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visitor:
    """One person at a site: a page, and everything that went wrong on it."""

    page: Page
    site: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(60_000)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("request", self._asked)
        self.page.on("requestfailed", self._failed)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url)[:2] != urlsplit(self.site)[:2] and not request.url.startswith("data:"):
            self.complaints.append(f"asked elsewhere: {request.url}")

    def _failed(self, request: Request) -> None:
        # A page that turns out to be a download is given up as a page.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url}: {request.failure}")

    def go(self, path: str) -> None:
        """Opens a page of the site and waits for its scripts."""
        self.page.goto(self.site + path, wait_until="load")

    def sign_in(self, name: str, password: str) -> None:
        self.go("/sign-in")
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", password)
        self.page.click("main button")
        self.page.wait_for_selector("text=Sign out")
        self.page.wait_for_load_state("load")

    @property
    def text(self) -> str:
        """What the page says."""
        return self.page.inner_text("main")

    def barriers(self, *rules: str) -> list[str]:
        """What axe finds against levels A and AA, or against the named rules, each with where it is."""
        from axe_playwright_python.sync_playwright import Axe

        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(Axe().axe_script)
        only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": LEVELS}
        options = {"runOnly": only, "resultTypes": ["violations"]}
        found: dict[str, Any] = self.page.evaluate("options => axe.run(options)", options)
        assert found["testEngine"]["name"] == "axe-core"
        broken = [(rule["id"], node["target"]) for rule in found["violations"] for node in rule["nodes"]]
        return [f"{rule}: {target}" for rule, target in broken]

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def look(self, size: tuple[int, int], theme: str) -> None:
        """The same page through another window, on a system with another theme (`light`, `dark`)."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")

    def picture(self, path: Path) -> None:
        self.page.screenshot(path=path, full_page=True)


@contextlib.contextmanager
def visitor(browser: Browser, site: str, **options: Any) -> Iterator[Visitor]:
    """Somebody with no cookies; `options` are a browser context's. What the browser complains of is an error."""
    context = browser.new_context(**options)
    try:
        somebody = Visitor(context.new_page(), site)
        yield somebody
        assert not somebody.complaints, somebody.complaints
    finally:
        context.close()
