"""Cost of a step through the real server, without a network: python -m benchmarks.loop_served [--output FILE]

The shipped repository with a denoiser that computes nothing: what is left of a step is the loop's own work, and that
of the threads beside it that tell Triton of every step.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from triton_diffusion import Client
from triton_diffusion.bench.concurrency import concurrently
from triton_diffusion.cli import errors_in_one_line

from benchmarks.recording import machine, write_record
from tests.support.launching import ALL_CORES
from tests.support.replicas import replicas

IDLE = '''"""A denoiser that computes nothing."""

import numpy as np


def open_network():
    return lambda sample, **inputs: {"model_output": np.zeros_like(sample)}
'''
FEW, MANY = 100, 1000  # steps of the requests whose difference is taken
AT_ONCE = (1, 8)
RUNS = 5

Make = Callable[[dict[str, Any]], object]
"""Make the image of a request."""


def with_idle_denoiser(repository: Path, folder: Path) -> Path:
    """`repository` whose denoiser computes nothing, in `folder`."""
    shutil.copytree(repository, folder)
    (folder / "denoiser/1/network.py").write_text(IDLE)
    return folder


def milliseconds_a_step(make: Make, at_once: int) -> float:
    """Of `make`, so many times at once."""

    def seconds(steps: int) -> float:
        request = {"prompt": "a red circle", "seed": 1, "sampler": "ddim", "num_inference_steps": steps}
        start = time.perf_counter()
        concurrently(make, [request] * at_once, at_once)
        return time.perf_counter() - start

    return 1000 * (seconds(MANY) - seconds(FEW)) / (MANY - FEW)


def makers(client: Client) -> dict[str, Make]:
    """By the model that is asked."""
    return {
        "one answer": lambda request: client.text_to_image(**request),
        "a stream": lambda request: list(client.stream(**request)),
    }


@errors_in_one_line()
def main(
    repository: Path = Path("model_repository"),
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure the milliseconds of a step that are not the network's, through the server."""
    figures: dict[str, dict[int, float]] = {}
    table = Table("asked for", *(f"{count} at once, ms a step" for count in AT_ONCE))
    with tempfile.TemporaryDirectory() as scratch, tempfile.NamedTemporaryFile("w") as log:
        idle = with_idle_denoiser(repository, Path(scratch, "repository"))
        with (
            replicas(idle, 1, ALL_CORES, "--networks=in-process", log=log) as (replica,),
            Client(replica.server.grpc_url) as client,
        ):
            for name, make in makers(client).items():
                figures[name] = {
                    count: round(statistics.median(milliseconds_a_step(make, count) for _ in range(RUNS)), 3)
                    for count in AT_ONCE
                }
                table.add_row(name, *map(str, figures[name].values()))
    Console().print(table)
    if output:
        write_record(output, {"machine": machine(), "milliseconds": figures})


if __name__ == "__main__":
    typer.run(main)
