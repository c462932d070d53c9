"""python -m export.shapes train: make the checkpoint that ships with the project."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The small checkpoint that ships with the project.", no_args_is_help=True)
SHIPPED = Path(__file__).parent / "checkpoint"


@app.callback()
def main() -> None: ...


@app.command()
def train(folder: Annotated[Path, typer.Option(help="Where the checkpoint is written.")] = SHIPPED) -> None:
    """Train from nothing; about two hours on two CPU cores. Finished stages in FOLDER are kept."""
    from export.shapes.train import train as run

    run(folder)


if __name__ == "__main__":
    app()
