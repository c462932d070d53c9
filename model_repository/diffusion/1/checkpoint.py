"""The served checkpoint as the loop must know it: `checkpoint.json`, which the export writes beside this file."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sampling import Schedule, read_schedule


@dataclass(frozen=True)
class LatentFormat:
    """Channels and cells of the VAE's latents."""

    channels: int
    factor: int  # pixels a latent cell, each way
    rgb: dict[str, Any]  # "weight" (C, 3) and "bias" (3,) of the linear map of `preview`

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latent of an image of `height` x `width` pixels."""
        return self.channels, height // self.factor, width // self.factor

    def preview(self, denoised: np.ndarray) -> np.ndarray:
        """A small image of `denoised`, float32 (N, C, h, w), by a linear map: uint8 (N, h, w, 3) RGB."""
        weight = np.asarray(self.rgb["weight"], np.float32)  # (C, 3)
        rgb = np.moveaxis(denoised, 1, -1) @ weight + np.asarray(self.rgb["bias"], np.float32)
        return np.rint(255 * rgb.clip(0, 1)).astype(np.uint8)


@dataclass(frozen=True)
class Checkpoint:
    """The fields of `checkpoint.json`; sizes in pixels, both ends of a range included."""

    name: str
    family: str
    schedule: dict[str, Any]  # the arguments of `read_schedule`
    latent_channels: int
    vae_factor: int  # pixels a latent cell, each way
    latent_rgb: dict[str, Any]  # the linear map of `LatentFormat.preview`
    height: int  # of a request that names none
    width: int
    height_range: tuple[int, int]
    width_range: tuple[int, int]
    tokenizers: dict[str, str]  # file beside this one by input of the text encoder
    networks: dict[str, dict[str, Any]]  # "max_batch" (rows a call), "inputs" and "outputs" of each, by name
    defaults: dict[str, Any]  # of a request that leaves out sampler, timestep_spacing, guidance_scale, ...
    noise_schedule: Schedule = field(init=False)  # the one that the checkpoint was trained with

    def __post_init__(self) -> None:
        """Raises ValueError where the schedule is broken: at the start, and not with the first request."""
        object.__setattr__(self, "noise_schedule", read_schedule(**self.schedule))

    @classmethod
    def from_file(cls, path: Path) -> "Checkpoint":
        """Read `path`, written by `python -m export`."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def latent_format(self) -> LatentFormat:
        return LatentFormat(self.latent_channels, self.vae_factor, self.latent_rgb)

    def max_batch(self, network: str) -> int:
        """Rows that a call of `network` takes."""
        return int(self.networks[network]["max_batch"])
