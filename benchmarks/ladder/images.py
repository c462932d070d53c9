"""Images that quality is judged by, generated in chunks that are kept, so that an interrupted run goes on."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from request import Request

from benchmarks.ladder.engines.loop import Loop

CHUNK = 16
"""Images generated together: with guidance 32 rows a call, the most that the denoiser's graph takes."""


@dataclass(frozen=True)
class Images:
    """Latents and images that one sampler and engine made of a list of requests."""

    latent: np.ndarray  # (N, C, h, w) float32, before decoding
    image: np.ndarray  # (N, H, W, 3) uint8


class ImageCache:
    """One checkpoint's images on disk, a file a chunk, found again by all that they depend on."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        """`report` is told in a few words what is being done."""
        self._folder = folder
        self._report = report

    def images(self, engine: str, opened: Callable[[], Loop], requests: Sequence[Request]) -> Images:
        """Those that the engine of that name makes of `requests`, which share one step table; opened only if needed."""
        chunks = []
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            path = self._folder / engine / f"{recipe(chunk)}.npz"
            if not path.exists():
                self._report(f"{engine}, {len(chunk[0].table)} steps: image {start + 1} of {len(requests)}")
                _generate(path, opened(), chunk)
            with np.load(path) as stored:
                chunks.append((stored["latent"], stored["image"]))
        latents, images = zip(*chunks)
        return Images(np.concatenate(latents), np.concatenate(images))


def recipe(requests: Sequence[Request]) -> str:
    """A name for what `requests` ask for: the sampler and steps of their table, prompts, seeds and guidance."""
    table = requests[0].table
    asked = [[request.prompt, request.seed, request.guidance_scale] for request in requests]
    content = json.dumps(asked).encode() + table.timesteps.tobytes() + table.coefficients.tobytes()
    return f"{len(table)}-{hashlib.sha256(content).hexdigest()[:16]}"


def _generate(path: Path, loop: Loop, requests: Sequence[Request]) -> None:
    latent = loop.latents(requests)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, latent=latent, image=loop.decode(latent))
    unfinished.replace(path)
