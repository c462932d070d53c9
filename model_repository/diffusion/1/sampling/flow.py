"""Flow matching: `x = alpha * image + sigma * noise` with alpha = 1 - sigma, arXiv 2403.03206.

The network is told T * sigma. No flow model is served yet.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

Levels = tuple[np.ndarray, np.ndarray]

MAX_SHIFT = 1e6  # and its inverse the least: beyond them rounding leaves nothing between the first level and the last


@dataclass(frozen=True)
class FlowSchedule:
    """Flow schedule of a checkpoint."""

    shift: float = 1.0  # above 1: more of the steps at high noise; arXiv 2403.03206 eq. 23
    num_train_timesteps: int = 1000
    ends_by_steps: bool = False  # Euler's cleanest node before shifting is 1/N instead of the cleanest trained level
    prediction_type: ClassVar[str] = "flow"

    def __post_init__(self) -> None:
        if not 1 / MAX_SHIFT <= self.shift <= MAX_SHIFT:
            allowed = f"{1 / MAX_SHIFT:g} to {MAX_SHIFT:g}"
            raise ValueError(f"shift is {self.shift}: use a number above 0, from {allowed}, 1 for none")
        if self.num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps is {self.num_train_timesteps}: use 1 or more")

    @classmethod
    def for_image(
        cls,
        image_tokens: int,
        base_shift: float = 0.5,
        max_shift: float = 1.15,
        base_tokens: int = 256,
        max_tokens: int = 4096,
    ) -> "FlowSchedule":
        """FLUX's shift by image size: its logarithm grows linearly with the transformer's `image_tokens`."""
        slope = (max_shift - base_shift) / (max_tokens - base_tokens)
        return cls(math.exp(base_shift + (image_tokens - base_tokens) * slope), ends_by_steps=True)

    def shifted(self, sigma: np.ndarray) -> np.ndarray:
        """Shifted sigma, of the same shape; 0 and 1 stay."""
        return self.shift * sigma / (1 + (self.shift - 1) * sigma)

    def level_at(self, sigma_karras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """alpha and sigma, each of the shape of `sigma_karras` = sigma / alpha."""
        return 1 / (1 + sigma_karras), sigma_karras / (1 + sigma_karras)

    def timestep_at(self, sigma_karras: np.ndarray) -> np.ndarray:
        """Timestep with its fraction, float64 of the same shape."""
        _, sigma = self.level_at(sigma_karras)
        return self.num_train_timesteps * sigma


def flow_levels(schedule: FlowSchedule, steps: int, timestep_spacing: str, convention: str) -> Levels:
    """timesteps and sigma, both (N,) float64 and falling, of FlowMatchEulerDiscreteScheduler or of DPM++."""
    if timestep_spacing not in FLOW_SPACINGS:
        raise ValueError(
            f"timestep_spacing is {timestep_spacing!r}, but this checkpoint is a flow model: "
            f"use {', '.join(FLOW_SPACINGS)}"
        )
    return FLOW_CONVENTIONS[convention](schedule, steps)


def _euler_levels(schedule: FlowSchedule, steps: int) -> Levels:
    """Evenly from 1 down, then shifted. diffusers shifts the cleanest trained level twice, and so do we."""
    cleanest = 1 / steps if schedule.ends_by_steps else schedule.shifted(np.array(1 / schedule.num_train_timesteps))
    sigma = schedule.shifted(np.linspace(1, cleanest, steps))
    return schedule.num_train_timesteps * sigma, sigma


def _dpmpp_levels(schedule: FlowSchedule, steps: int) -> Levels:
    """diffusers' `use_flow_sigmas`: N + 1 points from the shifted 1 - 1/T to 0, whose last is dropped.

    Timesteps are cut to integers, one off at a rounding error: keep the order of the operations.
    """
    total = schedule.num_train_timesteps
    sigma = schedule.shifted(1 - np.linspace(1, 1 / total, steps + 1))[::-1][:-1]
    return np.trunc(sigma * total), sigma


FLOW_SPACINGS = ("linspace",)
FLOW_CONVENTIONS = {
    "ddim": _euler_levels,
    "euler": _euler_levels,
    "kdpm2": _euler_levels,
    "dpmpp": _dpmpp_levels,
}
