"""Time until the page shows an image: python -m benchmarks.page [--output FILE] [--screenshot FILE]

A headless Chromium on this machine presses the button, with the page's default settings, one image after another.
The clock is the browser's: from the press until the stage holds the first preview, and until it holds the image.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Page
from triton_diffusion.cli import errors_in_one_line

from benchmarks.recording import machine, write_record
from tests.support.browsing import chromium, fill, generate, served_page, visit
from tests.support.launching import ALL_CORES
from tests.support.replicas import replicas

WARM_UP = 3
PAUSE = 500  # milliseconds between images: Gradio ignores the button for a moment after the last one
PROMPTS = (
    "a small purple circle on the right of a green background",
    "a large yellow square on a blue background",
    "a large white triangle on the left of a red background",
    "a large red circle on the left of a blue background",
)

# Milliseconds until the first preview and until the image, and how many previews were shown.
CLICK = """() => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error("no image within 20 s")), 20000);
  const stage = document.querySelector("#stage"), before = stage.querySelector("img.final")?.src;
  const previews = [];
  const watch = new MutationObserver(() => {
    const image = stage.querySelector("img");
    if (image?.className === "preview") previews.push(performance.now() - start);
    if (image?.className === "final" && image.src !== before) {
      watch.disconnect();
      requestAnimationFrame(() => resolve([previews[0], performance.now() - start, previews.length]));
    }
  });
  watch.observe(stage, { subtree: true, childList: true });
  const start = performance.now();
  document.querySelector("#generate").click();
})"""


def measure(page: Page, images: int) -> dict[str, float]:
    """Medians over so many images; times in milliseconds."""
    for _ in range(WARM_UP):
        generate(page)
    clicks = []
    for _ in range(images):
        page.wait_for_timeout(PAUSE)
        clicks.append(page.evaluate(CLICK))
    first, whole, previews = zip(*clicks)
    return {
        "first preview": statistics.median(first),
        "image": statistics.median(whole),
        "image, slowest": max(whole),
        "previews shown": statistics.median(previews),
    }


@errors_in_one_line()
def main(
    repository: Annotated[Path, typer.Option(help="An exported repository.")] = Path("model_repository"),
    images: Annotated[int, typer.Option(min=1)] = 30,
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    screenshot: Annotated[Path | None, typer.Option(help="PNG of the page to write.")] = None,
) -> None:
    """Measure how soon the page shows an image, in Chromium."""
    with (
        tempfile.NamedTemporaryFile("w") as log,
        replicas(repository, 1, ALL_CORES, log=log) as (replica,),
        served_page(replica.server) as url,
        chromium() as browser,
    ):
        page = browser.new_page(viewport={"width": 1100, "height": 800}, device_scale_factor=1.5)
        visit(page, url)
        figures = {name: round(value) for name, value in measure(page, images).items()}
        typer.echo(json.dumps(figures, indent=2))
        if output is not None:
            about = {"machine": machine(), "chromium": browser.version}
            write_record(output, {**about, "images": images, "figures": figures})
        if screenshot is not None:
            visit(page, url)
            for seed, prompt in enumerate(PROMPTS):
                fill(page, prompt=prompt, seed=str(seed))
                generate(page)
            page.screenshot(path=screenshot)


if __name__ == "__main__":
    typer.run(main)
