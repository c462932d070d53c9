"""The page, and a real Chromium that looks at it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browsing import chromium, served_page, visit
from tests.support.launching import Server


@pytest.fixture(scope="session")
def page_url(server: Server) -> Iterator[str]:
    """The page, for the running server."""
    with served_page(server) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; without one the tests fail. While it is open, asyncio.run refuses to work."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, page_url: str) -> Iterator[Page]:
    """A visitor's page. A request of it to any other host fails the test."""
    outside: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: outside.append(request.url) if _outside(request.url, page_url) else None)
    visit(page, page_url)
    yield page
    page.close()
    assert outside == []


def _outside(url: str, page_url: str) -> bool:
    return not url.startswith((page_url, "data:", "blob:"))
