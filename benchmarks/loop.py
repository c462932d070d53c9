"""Cost of the loop without a network: python -m benchmarks.loop [--output FILE]

A denoiser that computes nothing, behind the real scheduler: what is left of a step is the loop's own work, which is to
gather coefficients and noise, guide, and update the latents. All requests are guided and have one image each.
"""

import statistics
import threading
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from batch import Generation
from request import Request
from rich.console import Console
from rich.table import Table
from sampling import Schedule, alpha_bar_from_betas, step_table
from scheduler import Scheduler
from triton_diffusion.cli._app import errors_in_one_line

from benchmarks.recording import machine, write_record

SAMPLERS = ("ddim", "dpmpp_2m", "dpmpp_2m_sde")  # without memory, with memory, with noise at every step
SIDES = (128, 512)  # pixels: of the shipped checkpoint, of Stable Diffusion 1.5
REQUESTS = (1, 16)
CONTEXT = (2, 77, 768)  # the prompt's and the negative prompt's
STEPS = 200
RUNS = 5


class IdleDenoiser:
    """A denoiser that returns zeros at once, and keeps the times of the calls that had every request in them."""

    def __init__(self, rows: int, latent_shape: tuple[int, int, int]) -> None:
        self.times: list[float] = []
        self._output = np.zeros((rows, *latent_shape), np.float32)

    def __call__(self, sample: np.ndarray, timestep: np.ndarray, context: np.ndarray) -> np.ndarray:
        if len(sample) == len(self._output):
            self.times.append(time.perf_counter())
        return self._output[: len(sample)]


class Listener:
    """Waits for the end of one generation."""

    cancelled = False
    deadline = float("inf")

    def __init__(self, ended: threading.Semaphore) -> None:
        self._ended = ended

    def queued(self, position: int) -> None: ...

    def stepped(self, step: int, denoised: np.ndarray | None) -> None: ...

    def finished(self, latent: np.ndarray) -> None:
        self._ended.release()

    def failed(self, reason: Exception) -> None:
        raise reason

    def dropped(self) -> None: ...

    def expired(self) -> None: ...


class Unmeasured:
    """Metrics that nobody reads."""

    def add(self, name: str, amount: float) -> None: ...

    def observe(self, name: str, value: float) -> None: ...


def milliseconds_a_step(sampler: str, side: int, requests: int) -> float:
    """Mean milliseconds between two denoiser calls with so many requests of `side` x `side` pixels."""
    shape = (4, side // 8, side // 8)
    denoiser = IdleDenoiser(2 * requests, shape)
    scheduler = Scheduler(denoiser, max_active_samples=requests, metrics=Unmeasured())
    schedule = Schedule(alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear"))
    table, context = step_table(schedule, sampler, STEPS), np.zeros(CONTEXT, np.float32)
    ended = threading.Semaphore(0)
    for seed in range(requests):
        request = Request("", "", 1, side, side, guidance_scale=7.5, seed=seed, preview_interval=0, table=table)
        scheduler.submit(Generation(request, shape, context, Listener(ended)))
    for _ in range(requests):
        ended.acquire()
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
