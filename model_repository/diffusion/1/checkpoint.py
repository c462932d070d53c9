"""What the loop must know of the checkpoint it serves: `checkpoint.json`, which the export writes beside this file."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sampling import Schedule, alpha_bar_from_betas


@dataclass(frozen=True)
class Checkpoint:
    """The fields of `checkpoint.json`; sizes in pixels, batches in rows."""

    name: str
    schedule: dict[str, Any]  # the arguments of `alpha_bar_from_betas`
    prediction_type: str
    steps_offset: int
    latent_channels: int
    vae_factor: int  # pixels a latent cell, each way
    height: int  # of a request that names none
    width: int
    height_range: tuple[int, int]
    width_range: tuple[int, int]
    max_batch: dict[str, int]  # rows a call of each engine takes
    guidance_scale: float  # of a request that names none
    latent_rgb: dict[str, Any]  # the linear map of `preview`

    @classmethod
    def from_file(cls, path: Path) -> "Checkpoint":
        """Read `path`, written by `python -m export`."""
        return cls(**json.loads(path.read_text()))

    @cached_property
    def noise_schedule(self) -> Schedule:
        """The schedule the checkpoint was trained with."""
        return Schedule(alpha_bar_from_betas(**self.schedule), self.prediction_type, self.steps_offset)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latent of a picture of `height` x `width` pixels."""
        return self.latent_channels, height // self.vae_factor, width // self.vae_factor

    def preview(self, denoised: np.ndarray) -> np.ndarray:
        """A small picture of `denoised`, float32 (N, C, h, w), by a linear map: uint8 (N, h, w, 3) RGB."""
        weight = np.asarray(self.latent_rgb["weight"], np.float32)  # (C, 3)
        rgb = np.moveaxis(denoised, 1, -1) @ weight + np.asarray(self.latent_rgb["bias"], np.float32)
        return np.rint(255 * rgb.clip(0, 1)).astype(np.uint8)
