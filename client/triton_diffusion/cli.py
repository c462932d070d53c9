"""The command line: `triton-diffusion`."""

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL.Image import Image

from ._client import Client, Protocol
from ._errors import DeadlineExceeded, DiffusionError, InvalidRequest, ServerUnavailable
from ._events import Completed, Progress
from ._response import save_png

_EXIT_CODES: dict[type[Exception], int] = {InvalidRequest: 2, ServerUnavailable: 3, DeadlineExceeded: 4}
_PORTS = {"grpc": 8001, "http": 8000}  # Triton's

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Pictures from a Triton Diffusion server."""


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture shows.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The PNG to write. Several become NAME-0.png, NAME-1.png, ...")
    ] = Path("out.png"),
    steps: Annotated[int | None, typer.Option(help="num_inference_steps")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same picture.")] = None,
    num_images: Annotated[int | None, typer.Option(help="Pictures to make; picture k uses seed+k.")] = None,
    negative: Annotated[str | None, typer.Option(help="negative_prompt: what it must not show")] = None,
    guidance: Annotated[float | None, typer.Option(help="guidance_scale")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpmpp_2m or dpmpp_2m_sde")] = None,
    spacing: Annotated[str | None, typer.Option(help="timestep_spacing: leading, trailing, linspace, karras")] = None,
    eta: Annotated[float | None, typer.Option(help="Noise of ddim, 0 to 1.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    url: Annotated[str | None, typer.Option(help="host:port; by default localhost:8001 (grpc) or :8000 (http)")] = None,
    protocol: Annotated[Protocol, typer.Option(help="grpc shows progress and can cancel.")] = "grpc",
    timeout: Annotated[float | None, typer.Option(help="Seconds for the whole call.")] = None,
) -> None:
    """Make pictures from a prompt and write them as PNG, with prompt, seed and settings as text chunks.

    What is not given is the server's default. Ctrl-C stops the work on the server (grpc).

    Exit codes: 0 done, 1 any other error, 2 bad request, 3 server unreachable, 4 deadline exceeded, 130 interrupted.
    """
    arguments: dict[str, Any] = {
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
        "timeout": timeout,
    }
    start = time.monotonic()
    try:
        if output.suffix.lower() != ".png" or not output.parent.is_dir():  # before the work, not after it
            raise InvalidRequest(f"output is {str(output)!r}; it must end in .png and its folder must exist", "output")
        with Client(url or f"localhost:{_PORTS[protocol]}", protocol) as client:
            if protocol == "grpc":
                images = _streamed(client, prompt, arguments)
            else:
                images = client.text_to_image(prompt, **arguments)
        seconds = time.monotonic() - start
        for image, path in zip(images, _paths(output, len(images)), strict=True):
            save_png(image, path)
            typer.echo(f"{path}  seed {image.info['seed']}")
        typer.echo(f"{seconds:.2f} s")
    except (DiffusionError, OSError) as error:
        # One line, whatever the server sent.
        typer.echo(f"triton-diffusion: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(_EXIT_CODES.get(type(error), 1)) from None
    except KeyboardInterrupt:
        typer.echo("triton-diffusion: interrupted", err=True)
        raise typer.Exit(130) from None


def _streamed(client: Client, prompt: str, arguments: dict[str, Any]) -> list[Image]:
    """The pictures, with a progress bar where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    images: list[Image] = []
    bar = Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar, closing(client.stream(prompt, **arguments)) as events:
        task = bar.add_task("waiting", total=None)
        for event in events:
            if isinstance(event, Progress):
                bar.update(task, description="generating", completed=event.step, total=event.num_steps)
            elif isinstance(event, Completed):
                images = event.images
    return images


def _paths(output: Path, count: int) -> list[Path]:
    return [output] if count == 1 else [output.with_stem(f"{output.stem}-{k}") for k in range(count)]
