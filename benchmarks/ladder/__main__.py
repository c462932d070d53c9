"""The command line: `python -m benchmarks.ladder CHECKPOINT` measures the ladder."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.ladder.engines.torch_engine import ServedTorchEngine, TorchEngine
from benchmarks.ladder.plot import plot
from benchmarks.ladder.profile import profile
from benchmarks.ladder.record import Record, gates
from benchmarks.ladder.run import Part, Run
from benchmarks.ladder.table import quality_table, skipped_table, speed_table
from benchmarks.ladder.workspace import Workspace
from export.checkpoint.components import read_checkpoint
from export.errors import ExportError

NARROWEST = 150
"""Columns that the tables take where no terminal sets a limit."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def benchmark(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder in diffusers' layout, or a Hugging Face hub name.")
    ],
    only: Annotated[Part | None, typer.Option(help="Measure one half. Default: both.")] = None,
    images: Annotated[int, typer.Option(min=4, max=560, help="Prompts and seeds that quality is judged by.")] = 256,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of a network; 0 uses all cores.")] = 0,
    folder: Annotated[
        Path, typer.Option(metavar="DIR", help="Keeps graphs and images, so that a later run goes on from there.")
    ] = Path("build/benchmark"),
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The figures, and beside them FILE.png. Default: in DIR.")
    ] = None,
    with_profile: Annotated[
        bool, typer.Option("--profile", help="Also profile PyTorch: traces into DIR, the top operators here.")
    ] = False,
) -> None:
    """Measure every rung from DDPM with 1000 steps to TensorRT that this machine can run.

    Quality takes hours on a few CPU cores and is kept image by image; an interrupted run goes on where it was.
    """
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("reading the checkpoint", total=None)
            workspace = Workspace(read_checkpoint(checkpoint), folder, threads)
            run = Run(
                workspace,
                (only,) if only else tuple(Part),
                images,
                lambda text: progress.update(task, description=text),
            )
            record = run.measure()
    except ExportError as error:
        _fail(str(error), 2)
    except OSError as error:
        _fail(f"{error.filename or folder}: {error.strerror or error}: what was measured so far is in {folder}", 2)
    except KeyboardInterrupt:
        _fail(f"interrupted: the same command goes on with what is in {folder}", 130)
    tables = _tables(record)
    output = output or workspace.folder / "ladder.json"
    record.write(output)
    if only is None:
        plot(record, output.with_suffix(".png"))
    if with_profile:
        tables += _profiles(workspace)
    console = Console()
    console = console if console.is_terminal else Console(width=NARROWEST)
    for table in tables:
        console.print(table)
    for gate in gates(record.results):
        console.print(f"{'holds' if gate.holds else 'FAILS'}: {gate.name}: {gate.found}")
    if not all(gate.holds for gate in gates(record.results)):
        raise typer.Exit(1)


def _tables(record: Record) -> list:
    """Tables of what was measured."""
    tables = []
    if any(result.timing for result in record.results):
        tables.append(speed_table(record))
    if any(result.quality for result in record.results):
        tables.append(quality_table(record.results))
    return [*tables, skipped_table(record.results)]


def _profiles(workspace: Workspace) -> list:
    """The top operators of PyTorch's rungs: plain, and as served."""
    engines = [engine for engine in (TorchEngine(), ServedTorchEngine()) if not engine.missing(workspace)]
    return [t for e in engines for t in profile(e, workspace, workspace.folder / f"trace-{e.name}.json")]


def _fail(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.ladder")
