"""Chromium, for what a person does on a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.services import skip_without

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Keep = Callable[["Page", str], None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser. Not for the session: Playwright's event loop would be in other tests' way."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    skip_without(path is not None, "Chromium (Debian: chromium)")
    with sync_playwright() as playwright:
        # A container's root has no user namespaces for Chromium's sandbox.
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Keep:
    """Keeps a screenshot of a page under a name."""
    folder = request.config.rootpath / "build" / "screenshots"

    def screenshot(page: Page, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")

    return screenshot
