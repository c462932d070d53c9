"""python -m shapes: make and judge the checkpoint that ships with the project."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="The small checkpoint that ships with the project.", no_args_is_help=True)
SHIPPED = Path(__file__).parent / "checkpoint"
Repository = Annotated[Path, typer.Option(help="Where `python -m export` has written the checkpoint's graphs.")]


@app.command()
def train(folder: Annotated[Path, typer.Option(help="Where the checkpoint is written.")] = SHIPPED) -> None:
    """Train from nothing; about an hour on two CPU cores. Finished stages in FOLDER are kept."""
    from shapes.train import train as run

    run(folder)


@app.command()
def evaluate(
    repository: Repository = Path("model_repository"),
    output: Annotated[Path, typer.Option(help="The figures as JSON.")] = SHIPPED / "evaluation.json",
) -> None:
    """Measure how often the images show what their prompts say, through the exported graphs."""
    from shapes.evaluate import exported_accuracy

    figures = exported_accuracy(repository)
    output.write_text(json.dumps(figures, indent=1) + "\n")
    table = Table("share right", *figures["all"])
    for name, row in figures.items():
        table.add_row(name, *(f"{value:.3f}" for value in row.values()))
    Console().print(table)


@app.command()
def images(
    repository: Repository = Path("model_repository"),
    output: Annotated[Path, typer.Option(help="PNG to write.")] = Path("docs/images.png"),
) -> None:
    """Write a grid of images with their prompts, held-out combinations among them."""
    from shapes.images import write_grid

    write_grid(repository, output)


if __name__ == "__main__":
    app()
