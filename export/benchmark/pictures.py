"""Generates the pictures that quality is judged by, in chunks that are kept, so that an interrupted run goes on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from batch import Batch, Generation, Listener, UNet
from request import Request
from sampling import StepTable

from export.benchmark.host import Host

CHUNK = 16
"""Pictures generated together: with guidance 32 rows a call, the most that the UNet's graph takes."""


@dataclass(frozen=True)
class Pictures:
    """What one sampler and UNet made of a list of requests."""

    latent: np.ndarray  # (N, C, h, w) float32, before decoding
    image: np.ndarray  # (N, H, W, 3) uint8


class Album:
    """Pictures on disk, one file a chunk, found again by everything they depend on but the checkpoint."""

    def __init__(self, folder: Path, host: Host, report: Callable[[str], None]) -> None:
        """`folder` belongs to the checkpoint of `host`; `report` is told in a few words what is being done."""
        self._folder = folder
        self._host = host
        self._report = report

    def pictures(self, engine: str, unet: Callable[[], UNet], requests: Sequence[Request]) -> Pictures:
        """What `unet`, called `engine`, makes of `requests`, which share one step table; opened only if needed."""
        opened: UNet | None = None
        chunks = []
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            path = self._folder / engine / f"{recipe(chunk)}.npz"
            if not path.exists():
                self._report(f"{engine}, {len(chunk[0].table)} steps: picture {start + 1} of {len(requests)}")
                opened = opened or unet()
                _save(path, self._generate(opened, chunk))
            with np.load(path) as stored:
                chunks.append(Pictures(stored["latent"], stored["image"]))
        return Pictures(
            np.concatenate([chunk.latent for chunk in chunks]), np.concatenate([chunk.image for chunk in chunks])
        )

    def _generate(self, unet: UNet, requests: Sequence[Request]) -> Pictures:
        latent = generate(self._host, unet, requests)
        return Pictures(latent, self._host.decode(latent))


def generate(host: Host, unet: UNet, requests: Sequence[Request]) -> np.ndarray:
    """The final latents (N, C, h, w) float32 of `requests`, all advanced together, each for one picture."""
    nobody = cast(Listener, None)  # a batch alone reports to nobody
    generations = [Generation(request, host.latent_shape, host.context(request), nobody) for request in requests]
    batch = Batch(generations)
    while not generations[0].done:
        batch.advance(unet)
    return np.concatenate([generation.latent for generation in generations])


def recipe(requests: Sequence[Request]) -> str:
    """A name for what `requests` ask for: the sampler and steps of their table, prompts, seeds and guidance."""
    table: StepTable = requests[0].table
    asked = [[request.prompt, request.seed, request.guidance_scale] for request in requests]
    content = json.dumps(asked).encode() + table.timesteps.tobytes() + table.coefficients.tobytes()
    return f"{len(table)}-{hashlib.sha256(content).hexdigest()[:16]}"


def _save(path: Path, pictures: Pictures) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, latent=pictures.latent, image=pictures.image)
    unfinished.replace(path)
