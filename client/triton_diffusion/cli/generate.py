"""`triton-diffusion generate`: images from prompts."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from .._async_client import AsyncClient
from .._errors import InvalidRequest
from .._events import Completed
from .._metadata import arguments_of, read_settings, save_png
from ._app import EPILOG, Json, Protocol, Timeout, TlsCa, TlsCert, TlsKey, Url, app, errors_in_one_line, tls_of
from ._live import Display
from ._options import setting_options


@app.command(epilog=EPILOG)
@setting_options
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT", help="Text of what the images show.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("-f", "--file", help="More prompts, one a line; - is standard input.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="PNG to write. Several become NAME-0.png, NAME-1.png, ...")
    ] = Path("out.png"),
    like: Annotated[
        Path | None, typer.Option("--from", help="PNG whose settings and prompt to use if none are given.")
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Write NAME-grid.png too: a row a prompt.")] = False,
    *,
    settings: dict[str, Any],
    url: Url = None,
    protocol: Protocol = None,
    timeout: Timeout = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    retries: Annotated[int, typer.Option(help="Tries after the first, if the server is lost or busy.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Prompts sent at once.")] = 8,
    preview: Annotated[bool, typer.Option(help="Show the images on the way, in a terminal with colours.")] = True,
    as_json: Json = False,
) -> None:
    """Make images from prompts and write them as PNG, with all that makes them again as text chunks.

    A setting that is not given is the server's default. Ctrl-C stops the work on the server.
    """
    with errors_in_one_line():
        if output.suffix.lower() != ".png" or not output.parent.is_dir():  # before the work, not after it
            raise InvalidRequest(f"output is {str(output)!r}: use a name in .png, in a folder that exists", "output")
        arguments: dict[str, Any] = {} if like is None else dict(arguments_of(read_settings(like)))
        if "sampler" in settings:
            arguments.pop("eta", None)  # the image's sampler's, which another may not have
        arguments |= settings
        chosen = read_prompts(prompts or [], prompt_file, arguments.pop("prompt", None))
        display = Display(chosen, preview)
        client = AsyncClient(url, protocol, retries=retries, tls=tls_of(tls_ca, tls_cert, tls_key))
        start = time.monotonic()
        rows = asyncio.run(_generated(client, chosen, arguments | {"timeout": timeout}, jobs, display))
        seconds = time.monotonic() - start
        paths = _written(rows, output, grid)
        images = [image for row in rows for image in row]
        if as_json:
            listed = [{"path": str(path), **image.info} for path, image in zip(paths, images)]
            typer.echo(json.dumps({"images": listed, "seconds": round(seconds, 3)}, ensure_ascii=False, indent=2))
            return
        for path, image in zip(paths, images):
            typer.echo(f"{path}  seed {image.info['seed']}")
        typer.echo(f"{seconds:.2f} s")


async def _generated(
    client: AsyncClient, prompts: Sequence[str], arguments: dict[str, Any], jobs: int, display: Display
) -> list[list[Image.Image]]:
    """The images of each prompt. The first error ends them all, and so does Ctrl-C."""
    room = asyncio.Semaphore(jobs)

    async def one(number: int, interval: int | None) -> list[Image.Image]:
        async with room:
            if client.streams:
                return await _streamed(client, number, prompts[number], interval, arguments, display)
            images = await client.text_to_image(prompts[number], **arguments)
            display.done(number)
            return images

    async with client:
        with display:
            interval = await _preview_interval(client, arguments, display)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(number, interval)) for number in range(len(prompts))]
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _preview_interval(client: AsyncClient, arguments: dict[str, Any], display: Display) -> int | None:
    """Steps between two previews; None for a display without them."""
    if not display.previews or not client.streams:
        return None
    num_steps = arguments.get("num_inference_steps")
    if num_steps is None:
        checkpoint = await client.checkpoint(arguments["timeout"])
        num_steps = 1 if checkpoint is None else checkpoint.num_inference_steps
    return display.interval(num_steps)


async def _streamed(
    client: AsyncClient,
    number: int,
    prompt: str,
    interval: int | None,
    arguments: dict[str, Any],
    display: Display,
) -> list[Image.Image]:
    """The images of prompt `number`, shown on their way."""
    images: list[Image.Image] = []
    async with aclosing(client.stream(prompt, preview_interval=interval, **arguments)) as events:
        async for event in events:
            display.show(number, event)
            if isinstance(event, Completed):
                images = event.images
    return images


def read_prompts(given: list[str], file: Path | None, otherwise: str | None) -> list[str]:
    """All prompts, in order; of a file the lines that are not empty and do not begin with #."""
    prompts = list(given)
    if file is not None:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        prompts += [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not prompts and otherwise is not None:
        prompts = [otherwise]
    if not prompts:
        raise InvalidRequest("prompt is missing: use a prompt, --file with prompts, or --from with an image", "prompt")
    return prompts


def _written(rows: list[list[Image.Image]], output: Path, grid: bool) -> list[Path]:
    """Write the images, and the grid of all of them; the images' files."""
    images = [image for row in rows for image in row]
    paths = [output] if len(images) == 1 else [output.with_stem(f"{output.stem}-{k}") for k in range(len(images))]
    for path, image in zip(paths, images):
        save_png(image, path)
    if grid:
        _grid(rows).save(output.with_stem(f"{output.stem}-grid"))
    return paths


def _grid(rows: list[list[Image.Image]]) -> Image.Image:
    """All images in one, a row for each of `rows`."""
    width = max(image.width for row in rows for image in row)
    height = max(image.height for row in rows for image in row)
    sheet = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * width, y * height))
    return sheet
