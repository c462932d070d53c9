"""The command line: `python -m export CHECKPOINT` writes a Triton model repository."""

import errno
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from export.checkpoint.components import read_checkpoint
from export.errors import ExportError
from export.plan.plans import choose_target
from export.quiet import quiet_libraries
from export.repository import Export, write_repository
from export.runtime import USUAL_PRECISION, Precision, Runtime
from export.runtimes.torch_model import check_precision, choose_batches
from export.sizes import choose_sizes

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="To measure a checkpoint instead: python -m benchmarks.ladder CHECKPOINT")
def export(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder in diffusers' layout, or a Hugging Face hub name.")
    ],
    repository: Annotated[Path, typer.Option(metavar="DIR", help="The Triton model repository to write into.")] = Path(
        "model_repository"
    ),
    runtime: Annotated[Runtime, typer.Option(help="Program that runs the networks inside Triton.")] = Runtime.PYTHON,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Numbers the networks compute in; bf16 with --runtime torch only. Default: fp32, TensorRT: fp16."
        ),
    ] = None,
    height: Annotated[
        str | None, typer.Option(metavar="N|MIN:MAX", help="Pixels. Default: what the checkpoint was trained at.")
    ] = None,
    width: Annotated[
        str | None, typer.Option(metavar="N|MIN:MAX", help="Pixels. Default: what the checkpoint was trained at.")
    ] = None,
    compile: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Whether --runtime torch compiles before it is ready. It does."),
    ] = None,
    batches: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="denoiser rows a call that it compiles for. Default: 1,2,4,8.")
    ] = None,
    sm: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="GPUs that --runtime tensorrt-rtx builds for, such as 86,120.")
    ] = None,
) -> None:
    """Export a checkpoint, such as of Stable Diffusion 1.x or 2.x, as a Triton model repository."""
    # A polite kill then tidies up like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    quiet_libraries()
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    precision = precision or USUAL_PRECISION.get(runtime, Precision.FP32)
    start = time.monotonic()
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("reading the checkpoint", total=None)
            target = choose_target(runtime, sm)
            found = read_checkpoint(checkpoint)
            check_precision(runtime, precision)
            sizes = choose_sizes(found, height, width)
            networks = found.networks(sizes)
            chosen = choose_batches(runtime, networks, compile, batches)
            order = Export(found, sizes, networks, runtime, precision, chosen, target)
            write_repository(order, repository, lambda text: progress.update(task, description=text))
    except ExportError as error:
        _fail(str(error), 2)
    except OSError as error:
        _fail(_describe(error, repository), 2)
    except KeyboardInterrupt:
        _fail(f"interrupted: {repository} is as it was", 130)
    typer.echo(
        f"{repository}: {found.name} at {sizes.height_range}x{sizes.width_range} pixels in {precision.upper()}"
        f" for the {runtime} runtime, all gates passed, {time.monotonic() - start:.0f} s"
    )


def _describe(error: OSError, repository: Path) -> str:
    if error.errno in NO_SPACE:
        return (
            f"no space left to build {repository} ({error.strerror}): free about twice the checkpoint's size in FP32"
            " there, or choose another --repository; nothing was changed"
        )
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}: nothing was changed in {repository}"


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app()
