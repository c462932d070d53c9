"""What an engine's loop is asked, in the process that holds it."""

from dataclasses import replace

import numpy as np
import torch
from request import Request
from sampling import step_table

from benchmarks.ladder.engines.engine import device
from benchmarks.ladder.engines.loop import PROMPT, Loop, request
from benchmarks.ladder.samplers import DPMPP_2M, Sampler
from benchmarks.ladder.timing import stopwatch


def call_milliseconds(loop: Loop, calls: int) -> list[float]:
    """Of each of so many denoiser calls for one image, from the loop's arrays to the loop's arrays."""
    denoiser, inputs = loop.networks["denoiser"], loop.denoiser_inputs()
    denoiser(**inputs)
    return [1000 * seconds for seconds in stopwatch(lambda k: denoiser(**inputs), calls, calls)]


def image_seconds(loop: Loop, sampler: Sampler, images: int) -> list[float]:
    """Of each of so many images, one at a time, from the prompt to the pixels."""
    return stopwatch(lambda k: loop.image(sampler, seed=k), images, images)


def image_seconds_by_fewer(loop: Loop, sampler: Sampler, few: int, more: int) -> float:
    """Of one image, from two of fewer steps: each further step costs what the last ones did."""
    shorter = [Sampler(sampler.name, steps) for steps in (few, more)]
    first, second = stopwatch(lambda k: loop.image(shorter[k]), 2, 2)
    return first + (sampler.steps - few) * (second - first) / (more - few)


def crowd_seconds(loop: Loop, images: int) -> float:
    """Of so many images that go through every step together."""
    asked = requests(loop, images)
    (seconds,) = stopwatch(lambda k: loop.decode(loop.latents(asked)), 1, 1)
    return seconds


def image(loop: Loop) -> np.ndarray:
    """uint8 (H, W, 3): one image, the same for every engine but for its rounding."""
    picture: np.ndarray = loop.image(DPMPP_2M)[0]
    return picture


def first_of(loop: Loop, images: int) -> tuple[np.ndarray, np.ndarray]:
    """The first of so many made together: its latent, float32 (1, C, h, w), and its image, uint8 (1, H, W, 3)."""
    latent = loop.latents(requests(loop, images))[:1]
    return latent, loop.decode(latent)


def peak_mib(loop: Loop) -> float:
    """Of the GPU's memory that this process has held at once, as PyTorch counts it."""
    return torch.cuda.max_memory_reserved() / 2**20 if device() == "cuda" else 0.0


def requests(loop: Loop, count: int) -> list[Request]:
    """Requests for an image each, of DPM++ 2M, which differ in their seeds."""
    table = step_table(loop.served.noise_schedule, DPMPP_2M.name, DPMPP_2M.steps)
    first = request(loop.served, PROMPT, 0, table)
    return [replace(first, seed=seed) for seed in range(count)]
