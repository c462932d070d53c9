"""Serves the page for tests, and finds a browser to look at it with."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

from tests.support.launching import Server

COMMAND = Path(sys.executable).with_name("triton-diffusion")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 30_000  # milliseconds; the machine may be busy
PATIENCE = 2_000  # milliseconds that a press of the button may go unseen


@contextmanager
def served_page(server: Server, *options: str) -> Iterator[str]:
    """The address of a page for `server`, on a free port; ends with the context."""
    command = [str(COMMAND), "serve-web", "--url", server.grpc_url, "--http-url", server.http_url, "--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("the page is at "), "the command has said why on standard error"
        yield re.findall(r"http://\S+", line)[0]
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError("no Chromium on this machine: python3.11 docker/prerequisites.py --browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


def visit(page: Page, url: str) -> None:
    """Open the page, until the server's defaults are in it."""
    page.set_default_timeout(TIMEOUT)
    page.goto(url)
    page.wait_for_function("document.querySelector('#width input')?.value")


def fill(page: Page, **fields: str) -> None:
    """Type into the form; a field's name is its id."""
    for name, value in fields.items():
        field = page.locator(f"#{name.replace('_', '-')}").locator("textarea, input[type=number], input").first
        field.fill(value)
        field.blur()


def generate(page: Page, state: str = "done") -> None:
    """Press the button and wait for the end."""
    press(page)
    page.locator(f".stage[data-state={state}]").wait_for()


def press(page: Page) -> None:
    """Press the button until it works: Gradio ignores it for a moment after the last image."""
    page.evaluate("document.querySelector('.stage').dataset.state = 'asked'")
    for _ in range(TIMEOUT // PATIENCE):
        page.locator("#generate").click()
        with suppress(TimeoutError):
            page.locator(".stage:not([data-state=asked])").wait_for(timeout=PATIENCE)
            return
    raise AssertionError("the button does nothing")
