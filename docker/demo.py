"""One image from nothing: starts the server on free ports, asks it through the client, stops it.

python docker/demo.py "a red circle" --output build/demo.png
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from triton_diffusion import Client


def main(prompt: str, output: Annotated[Path, typer.Option()] = Path("demo.png"), seed: int = 7) -> None:
    """Write an image of PROMPT."""
    ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    launcher = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("launcher.py")), *ports], stdout=subprocess.PIPE, text=True
    )
    try:
        assert launcher.stdout is not None
        ready = re.search(r"grpc://(\S+)", launcher.stdout.readline())
        if ready is None:
            raise typer.Exit(1)  # the launcher has said why
        with Client(ready[1]) as client:
            client.text_to_image(prompt, num_inference_steps=1)  # first calls allocate
            start = time.perf_counter()
            (image,) = client.text_to_image(prompt, seed=seed)
        output.parent.mkdir(parents=True, exist_ok=True)
        image.save(output)
        typer.echo(f"{output}: {prompt!r}, seed {seed}, {time.perf_counter() - start:.2f} s")
    finally:
        launcher.terminate()
        launcher.wait()


if __name__ == "__main__":
    typer.run(main)
