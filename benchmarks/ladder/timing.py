"""Speed and memory of one engine."""

import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.samplers import Sampler
from benchmarks.ladder.workspace import Workspace

WARM_UP = 10
MAX_CALLS, MIN_CALLS = 200, 10
MAX_IMAGES, MIN_IMAGES = 30, 1
SECONDS = 10.0
"""Past which no further call or image is begun, once there are enough."""


@dataclass(frozen=True)
class Timing:
    """Time and memory of one rung."""

    denoiser_rows: int  # of each call below
    denoiser_ms_mean: float  # of one call from the host's arrays to the host's arrays
    denoiser_ms_std: float
    denoiser_ms_median: float
    denoiser_ms_p99: float
    denoiser_calls: int
    seconds_per_image: float  # median, one image at a time, from the prompt to the pixels
    images: int
    images_per_hour: float
    peak_memory_mb: float  # of the GPU, or of the process where there is none


def measure(engine: Engine, sampler: Sampler, workspace: Workspace) -> Timing:
    """Time `engine` in a process of its own, so that its memory and threads are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, engine, sampler, workspace).result()


def _measure(engine: Engine, sampler: Sampler, workspace: Workspace) -> Timing:
    before = _gpu_memory()
    loop = engine.open(workspace)
    denoiser, inputs = loop.networks["denoiser"], loop.denoiser_inputs()
    for _ in range(WARM_UP):
        denoiser(**inputs)
    milliseconds = [1000 * s for s in stopwatch(lambda k: denoiser(**inputs), MIN_CALLS, MAX_CALLS)]
    loop.image(Sampler(sampler.name, 2))
    seconds = stopwatch(lambda k: loop.image(sampler, seed=k), MIN_IMAGES, MAX_IMAGES)
    median = statistics.median(seconds)
    return Timing(
        denoiser_rows=len(inputs["sample"]),
        denoiser_ms_mean=statistics.mean(milliseconds),
        denoiser_ms_std=statistics.stdev(milliseconds),
        denoiser_ms_median=statistics.median(milliseconds),
        denoiser_ms_p99=float(np.quantile(milliseconds, 0.99)),
        denoiser_calls=len(milliseconds),
        seconds_per_image=median,
        images=len(seconds),
        images_per_hour=3600 / median,
        peak_memory_mb=(_gpu_memory() - before if device() == "cuda" else _peak_of_process()) / 1e6,
    )


def stopwatch(call: Callable[[int], object], least: int, most: int) -> list[float]:
    """Seconds of each of `least` to `most` calls of `call(k)`, as many as `SECONDS` allow."""
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < least or (len(seconds) < most and time.perf_counter() - begin < SECONDS):
        start = time.perf_counter()
        call(len(seconds))
        seconds.append(time.perf_counter() - start)
    return seconds


def _gpu_memory() -> int:
    """Bytes of the GPU in use; PyTorch and TensorRT give none back before they end, so a last look sees the peak."""
    if device() != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free


def _peak_of_process() -> int:
    """Bytes that this process has held at once (Linux's VmHWM; getrusage would begin with its parent's peak)."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return 1024 * int(match[1])
