"""The latent format of a checkpoint: its shape for a size in pixels, and a small image of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np


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
