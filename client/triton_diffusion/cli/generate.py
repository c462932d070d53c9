"""`triton-diffusion generate`: pictures from prompts."""

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


@app.command(epilog=EPILOG)
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT", help="What the pictures show.")] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("-f", "--file", help="More prompts, one a line; - is standard input.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The PNG to write. Several become NAME-0.png, NAME-1.png, ...")
    ] = Path("out.png"),
    like: Annotated[
        Path | None, typer.Option("--from", help="A PNG whose settings and prompt to use where none are given.")
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Write NAME-grid.png too: a row a prompt.")] = False,
    steps: Annotated[int | None, typer.Option(help="num_inference_steps")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same picture.")] = None,
    num_images: Annotated[int | None, typer.Option(help="Pictures of each prompt; picture k uses seed+k.")] = None,
    negative: Annotated[str | None, typer.Option(help="negative_prompt: what they must not show")] = None,
    guidance: Annotated[float | None, typer.Option(help="guidance_scale")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpmpp_2m or dpmpp_2m_sde")] = None,
    spacing: Annotated[str | None, typer.Option(help="timestep_spacing: leading, trailing, linspace, karras")] = None,
    eta: Annotated[float | None, typer.Option(help="Noise of ddim, 0 to 1.")] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high: who has room first")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    url: Url = None,
    protocol: Protocol = None,
    timeout: Timeout = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    retries: Annotated[int, typer.Option(help="Tries after the first, where the server is lost or busy.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Prompts that are sent at once.")] = 8,
    preview: Annotated[bool, typer.Option(help="Show the pictures on the way, in a terminal with colours.")] = True,
    as_json: Json = False,
) -> None:
    """Make pictures from prompts and write them as PNG, with all that makes them again as text chunks.

    What is not given is the server's default. Ctrl-C stops the work on the server.
    """
    given: dict[str, Any] = {
        "negative_prompt": negative,
        "num_images": num_images,
        "height": height,
        "width": width,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "sampler": sampler,
        "timestep_spacing": spacing,
        "eta": eta,
        "seed": seed,
        "priority": priority,
    }
    with errors_in_one_line():
        if output.suffix.lower() != ".png" or not output.parent.is_dir():  # before the work, not after it
            raise InvalidRequest(f"output is {str(output)!r}: use a name in .png, in a folder that exists", "output")
        arguments: dict[str, Any] = {} if like is None else dict(arguments_of(read_settings(like)))
        arguments |= {name: value for name, value in given.items() if value is not None}
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
    """The pictures of each prompt. The first error ends them all, and so does Ctrl-C."""
    room = asyncio.Semaphore(jobs)

    async def one(number: int) -> list[Image.Image]:
        async with room:
            return await _pictures(client, number, prompts[number], arguments, display)

    async with client:
        with display:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(number)) for number in range(len(prompts))]
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _pictures(
    client: AsyncClient, number: int, prompt: str, arguments: dict[str, Any], display: Display
) -> list[Image.Image]:
    """The pictures of one prompt, shown on their way where the client can stream."""
    if not client.streams:
        images = await client.text_to_image(prompt, **arguments)
        display.done(number)
        return images
    interval = display.interval(arguments.get("num_inference_steps"))
    images = []
    async with aclosing(client.stream(prompt, preview_interval=interval, **arguments)) as events:
        async for event in events:
            display.show(number, event)
            if isinstance(event, Completed):
                images = event.images
    return images


def read_prompts(given: list[str], file: Path | None, otherwise: str | None) -> list[str]:
    """All prompts, in order; of a file those of its lines that are not empty and do not begin with #."""
    prompts = list(given)
    if file is not None:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        prompts += [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not prompts and otherwise is not None:
        prompts = [otherwise]
    if not prompts:
        raise InvalidRequest("prompt is missing: use a prompt, --file with prompts, or --from with a picture", "prompt")
    return prompts


def _written(rows: list[list[Image.Image]], output: Path, grid: bool) -> list[Path]:
    """Write the pictures, and the grid of all of them; the pictures' files."""
    images = [image for row in rows for image in row]
    paths = [output] if len(images) == 1 else [output.with_stem(f"{output.stem}-{k}") for k in range(len(images))]
    for path, image in zip(paths, images):
        save_png(image, path)
    if grid:
        _grid(rows).save(output.with_stem(f"{output.stem}-grid"))
    return paths


def _grid(rows: list[list[Image.Image]]) -> Image.Image:
    """All pictures in one, a row for each of `rows`."""
    width = max(image.width for row in rows for image in row)
    height = max(image.height for row in rows for image in row)
    sheet = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * width, y * height))
    return sheet
