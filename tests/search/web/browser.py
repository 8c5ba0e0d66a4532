"""A real Chromium without a screen, that notes what it should not have done."""

import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = {360: 780, 800: 1000, 1280: 900}  # of a window, and its height


@contextmanager
def chromium():
    """The browser while the block runs; the tests are skipped where there is none."""
    if not CHROMIUM:
        pytest.skip("NO TEST OF THE PAGE WAS RUN: there is no chromium on PATH; on Debian, apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A tab. `errors`: what the page threw or its console complained of; `hosts`: whom it asked."""

    def __init__(self, browser, port, *, width=1280, **settings):
        self.context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, **settings)
        self.port, self.errors, self.hosts = port, [], set()
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc or urlsplit(request.url).scheme))

    def open(self, address="/"):
        self.page.goto(f"http://127.0.0.1:{self.port}{address}")
        self.page.wait_for_selector("#start:not([hidden]) > *, #found .side, #trouble > *")
        return self.page

    def search(self, text):
        self.page.fill("#q", text)
        self.page.press("#q", "Enter")
        self.page.wait_for_selector("#found:not([aria-busy]) .side")

    def choose(self, which, label):
        self.page.select_option(f"#{which}", label=label)
        self.page.wait_for_selector("#found:not([aria-busy]) .side")

    def wait(self, expression):
        """Until the expression is true. Playwright's own waiting needs eval, which the page forbids."""
        deadline = time.monotonic() + 10
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never: {expression}"
            self.page.wait_for_timeout(20)

    def asked(self):
        """The question in the address. The page itself says it: what Playwright remembers of it lags behind."""
        return self.page.evaluate("location.search")

    def names(self, side=0):
        """The videos of a side, in their order."""
        return self.page.locator(".side").nth(side).locator(".tile").evaluate_all("tiles => tiles.map(tile => tile.dataset.key)")

    def settled(self):
        """Wait until all pictures are there or have failed."""
        self.page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
        self.wait("[...document.images].every(image => image.complete)")

    def fits(self):
        """Whether nothing sticks out at the sides."""
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def picture(self, folder, name):
        self.settled()
        self.page.screenshot(path=str(Path(folder, f"{name}.png")), full_page=self.page.locator("dialog[open]").count() == 0)

    def end(self):
        """Nothing went wrong, and nobody else was asked."""
        self.context.close()
        assert not self.errors
        assert self.hosts <= {f"127.0.0.1:{self.port}", "blob"}
