"""Cost of the loop without a network: python -m benchmarks.loop [--output FILE]

A denoiser that computes nothing, behind the real scheduler: what is left of a step is the loop's own work, which is to
gather coefficients and noise, guide, and update the latents. All requests are guided and have one image each.
"""

import math
import statistics
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import numpy as np
import typer
from batch import Generation
from events import Completed, Event, Failed
from request import Request
from rich.console import Console
from rich.table import Table
from sampling import read_schedule, step_table
from scheduler import Scheduler
from triton_diffusion.cli import errors_in_one_line

from benchmarks.recording import machine, write_record

SAMPLERS = ("ddim", "dpmpp_2m", "dpmpp_2m_sde")  # without memory, with memory, with noise at every step
SIDES = (128, 512)  # pixels: of the shipped checkpoint, of Stable Diffusion 1.5
REQUESTS = (1, 16)
CONTEXT = (2, 77, 768)  # the prompt's and the negative prompt's
SCHEDULE: dict[str, Any] = {  # Stable Diffusion's
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
STEPS = 200
RUNS = 5


class IdleDenoiser:
    """A denoiser that returns zeros at once, and keeps the times of the calls that had every request in them."""

    def __init__(self, rows: int, latent_shape: tuple[int, int, int]) -> None:
        self.times: list[float] = []
        self._output = np.zeros((rows, *latent_shape), np.float32)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        rows = len(inputs["sample"])
        if rows == len(self._output):
            self.times.append(time.perf_counter())
        return {"model_output": self._output[:rows]}


class Waiter:
    """Waits for the end of one generation."""

    cancelled = False
    deadline = math.inf

    def __init__(self, ended: "SimpleQueue[Event]") -> None:
        self._ended = ended

    def report(self, event: Event) -> None:
        if isinstance(event, Completed | Failed):
            self._ended.put(event)

    def expire(self) -> None: ...


class Unmeasured:
    """Metrics that nobody reads."""

    def add(self, name: str, amount: float) -> None: ...

    def observe(self, name: str, value: float) -> None: ...


def milliseconds_a_step(sampler: str, side: int, requests: int) -> float:
    """Mean milliseconds between two denoiser calls with so many requests of `side` x `side` pixels."""
    shape = (4, side // 8, side // 8)
    denoiser = IdleDenoiser(2 * requests, shape)
    scheduler = Scheduler(denoiser, max_active_samples=requests, metrics=Unmeasured())
    table = step_table(read_schedule(**SCHEDULE), sampler, STEPS)
    conditioning = {"context": np.zeros(CONTEXT, np.float32)}
    ended: SimpleQueue[Event] = SimpleQueue()
    # All are made before the first is submitted: it would be done before the last had its noise.
    generations = [
        Generation(Request("", "", 1, side, side, 7.5, seed, 0, table), shape, conditioning) for seed in range(requests)
    ]
    for generation in generations:
        scheduler.submit(generation, Waiter(ended))
    for _ in range(requests):
        event = ended.get()
        if isinstance(event, Failed):
            raise event.reason
    scheduler.close()
    return 1000 * (denoiser.times[-1] - denoiser.times[0]) / (len(denoiser.times) - 1)


@errors_in_one_line()
def main(output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None) -> None:
    """Measure the loop's own milliseconds a step, without a network."""
    figures = {}
    table = Table("sampler, image", *(f"{requests} at once, ms a step" for requests in REQUESTS))
    for side in SIDES:
        for sampler in SAMPLERS:
            row = {
                str(requests): statistics.median(milliseconds_a_step(sampler, side, requests) for _ in range(RUNS))
                for requests in REQUESTS
            }
            figures[f"{sampler}, {side}x{side}"] = row
            table.add_row(f"{sampler}, {side}x{side}", *(f"{value:.3f}" for value in row.values()))
    Console().print(table)
    if output is not None:
        write_record(output, {"machine": machine(), "milliseconds": figures})


if __name__ == "__main__":
    typer.run(main)
