"""`triton-diffusion show-metadata`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .._metadata import read_settings
from ._app import EPILOG, Json, app, errors_in_one_line


@app.command(epilog=EPILOG)
def show_metadata(
    file: Annotated[Path, typer.Argument(help="PNG that `generate` or AUTOMATIC1111's web UI wrote.")],
    as_json: Json = False,
) -> None:
    """Show the settings of an image; `generate --from FILE` makes it again."""
    with errors_in_one_line():
        settings = read_settings(file)
        if as_json:
            typer.echo(json.dumps(settings, ensure_ascii=False, indent=2))
            return
        width = max(map(len, settings))
        for name, value in settings.items():
            typer.echo(f"{name:{width}}  {value}")
