"""Browser: a real Chromium for the tests of pages, and what a page did there besides being shown."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

VARIABLE = "CONTEXTBENCH_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")

PATIENCE = 60_000
"""Milliseconds until what a page was told to do counts as not done, on a machine that is busy with other things."""


@dataclass
class Visit:
    """An open page, its errors (console and exceptions), and the addresses that it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def strangers(self) -> list[str]:
        """Addresses that are neither on the disk nor within the page."""
        return [address for address in self.requests if not address.startswith(("file:", "data:", "blob:"))]


def executable() -> str:
    """The path of a Chromium; a test that needs one is skipped where there is none, or fails under CI."""
    path = os.environ.get(VARIABLE) or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is not None:
        return path
    reason = f"no browser: none of {', '.join(NAMES)} on the PATH, and {VARIABLE} is not set"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    path = executable()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Browser, file: Path, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
    """A file of the disk, open in a window of its own that may use the clipboard."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(PATIENCE)
        seen = Visit(context.new_page())
        seen.page.on(
            "console", lambda said: seen.errors.append(said.text) if said.type in ("error", "warning") else None
        )
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(file.as_uri())
        yield seen
    finally:
        context.close()
