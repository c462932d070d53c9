"""The page in a real browser, with the real server behind it."""

import io
import re
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from triton_diffusion import Client, InvalidRequest, read_settings
from triton_diffusion._metrics import ServerMetrics, server_metrics

from tests.support.browsing import fill, generate, press, served_page, visit
from tests.support.launching import Server

# Keeps every image that the stage shows, as [class, address].
WATCH = """
window.seen = [];
new MutationObserver(() => {
  const image = document.querySelector("#stage img");
  if (image && image.src !== window.seen.at(-1)?.[1]) window.seen.push([image.className, image.src]);
}).observe(document.querySelector("#stage"), { subtree: true, childList: true, attributes: true });
"""


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(b64decode(url.partition(",")[2]))))


def final(page: Page) -> str:
    return page.locator("#stage img.final").get_attribute("src") or ""


def test_previews_change_until_the_image_is_what_the_sdk_gets(page, server, tmp_path):
    fill(page, prompt="a small white triangle on a green background", seed="7")
    page.evaluate(WATCH)
    generate(page)
    seen = page.evaluate("window.seen")
    with Client(server.grpc_url) as client:
        (image,) = client.text_to_image("a small white triangle on a green background", seed=7)
    assert [kind for kind, _ in seen] == ["preview"] * (len(seen) - 1) + ["final"]
    assert len(seen) >= 3
    np.testing.assert_array_equal(pixels(final(page)), np.asarray(image))
    caption = page.locator(".stage .caption").inner_text()
    assert re.search(r"[\d.]+ s\s+first preview after [\d.]+ s\s+20 steps of \d+ ms\s+Seed 7", caption)
    with page.expect_download() as saved:
        page.locator(".stage .caption a").click()
    saved.value.save_as(tmp_path / saved.value.suggested_filename)
    settings = read_settings(tmp_path / "7.png")
    assert {name: settings[name] for name in image.info} == image.info


def test_cancelling_stops_the_work_within_a_step(page, server):
    before = metrics(server)
    fill(page, steps="150")
    press(page)
    page.locator("#stage img.preview").wait_for()
    page.locator("#cancel").click()
    page.locator(".stage[data-state=cancelled]").wait_for()
    done = int(re.findall(r"Cancelled after (\d+) of 150 steps", page.locator(".caption").inner_text())[0])
    until(lambda: metrics(server).requests_cancelled == before.requests_cancelled + 1)
    assert done <= metrics(server).denoiser_steps - before.denoiser_steps < 150
    fill(page, steps="5")
    generate(page)


def test_closing_the_page_stops_the_work(browser, page_url, server):
    before = metrics(server)
    visitor = browser.new_page()
    visit(visitor, page_url)
    fill(visitor, steps="150")
    press(visitor)
    visitor.locator("#stage img.preview").wait_for()
    visitor.close()
    until(lambda: metrics(server).requests_cancelled == before.requests_cancelled + 1)


@pytest.mark.parametrize(
    ("field", "argument", "value"),
    [("seed", "seed", "-1"), ("seed", "seed", "many"), ("width", "width", "63"), ("prompt", "prompt", "")],
)
def test_a_bad_value_gets_the_line_that_the_sdk_says(page, server, field, argument, value):
    fill(page, **{field: value})
    generate(page, "failed")
    bad = int(value) if re.fullmatch(r"-?\d+", value) else value
    arguments = {"prompt": "a", argument: bad}
    with Client(server.grpc_url) as client, pytest.raises(InvalidRequest) as error:
        list(client.stream(**arguments))
    assert page.locator(".stage [role=alert]").inner_text() == str(error.value)


def test_an_earlier_image_comes_back_with_its_settings(page):
    fill(page, prompt="a red circle", seed="1", steps="5")
    generate(page)
    first = final(page)
    fill(page, prompt="a <b>blue</b> square", seed="2", steps="6")
    generate(page)
    assert final(page) != first
    page.locator("#history button >> nth=1").click()
    expect(page.locator("#stage img.final")).to_have_attribute("alt", "a red circle")
    assert final(page) == first
    expect(page.locator("#prompt textarea")).to_have_value("a red circle")
    expect(page.locator("#seed").locator("textarea, input")).to_have_value("1")
    expect(page.locator("#steps input[type=number]")).to_have_value("5")


def test_the_copied_code_makes_the_same_image(page, tmp_path):
    fill(page, prompt="a 'large' red circle", seed="3", steps="5")
    generate(page)
    page.locator("#code button").first.click()
    page.locator("#python .cm-line", has_text="out.png").wait_for()  # the page fills it in a moment later
    python = "\n".join(page.locator("#python .cm-line").all_inner_texts())
    subprocess.run([sys.executable, "-c", python], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), pixels(final(page)))
    page.get_by_role("tab", name="curl").click()
    curl = "\n".join(page.locator("#curl .cm-line").all_inner_texts())
    if not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("no curl and jq on this machine")
    subprocess.run(["bash", "-c", curl], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.ppm")), pixels(final(page)))


def test_visitors_beyond_the_limits_are_refused(browser, server):
    contexts = [browser.new_context() for _ in range(3)]
    with served_page(server, "--at-once", "1", "--waiting", "1") as url:
        visitors = [context.new_page() for context in contexts]
        for visitor in visitors:
            visit(visitor, url)
            fill(visitor, steps="150")
        for visitor, state in zip(visitors, ("running", "waiting", "failed")):
            press(visitor)
            visitor.locator(f".stage[data-state={state}]").wait_for()
        assert visitors[2].locator(".caption").inner_text() == "2 requests are here already: try again in a moment"
        visitors[0].locator("#cancel").click()
        visitors[1].locator(".stage[data-state=running]").wait_for()
        for context in contexts:
            context.close()


def test_it_listens_on_this_machine_only(page_url):
    port = int(page_url.rpartition(":")[2])
    listening = "0A"
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as lines:
            for _, local, _, state, *_ in map(str.split, lines):
                address, _, hexadecimal = local.partition(":")
                if state == listening and int(hexadecimal, 16) == port:
                    found.append(address)
    assert found == ["0100007F"]


def metrics(server: Server) -> ServerMetrics:
    return server_metrics(server.metrics_url, timeout=5)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
