"""The command line: `python -m export benchmark CHECKPOINT` measures the ladder."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from export.benchmark.host import Host
from export.benchmark.pictures import Album
from export.benchmark.quality import SAMPLERS, Exam, Quality
from export.benchmark.workplace import Workplace
from export.checkpoint import read_checkpoint

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def benchmark(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder in diffusers' layout, or a Hugging Face hub name.")
    ],
    pictures: Annotated[int, typer.Option(min=4, help="Prompts and seeds that quality is judged by.")] = 256,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 uses all cores.")] = 0,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Keeps what is generated, for the next run.")] = Path(
        "build/benchmark"
    ),
) -> None:
    """Measure every rung of the ladder that this machine can run."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading the checkpoint", total=None)

        def report(text: str) -> None:
            progress.update(task, description=text)

        workplace = Workplace(read_checkpoint(checkpoint), folder)
        host = Host(workplace.repository(report), threads)
        quality = Quality(host, Exam.of(pictures), Album(workplace.folder / "pictures", host, report))
        print("confirmation", quality.confirmation())
        for sampler in SAMPLERS:
            print(sampler, quality.figures(sampler, quality.answers(sampler)))


if __name__ == "__main__":
    app()
