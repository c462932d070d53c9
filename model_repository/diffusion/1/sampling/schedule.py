"""Noise schedule that a checkpoint was trained with.

`alpha_bar` is the only stored schedule: `alpha = sqrt(alpha_bar)` scales the signal, `sigma = sqrt(1 - alpha_bar)` the
noise (variance preserving). A Karras sigma is `sigma / alpha` and is always called `sigma_karras`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .flow import FlowSchedule
from .prediction import DENOISED_WEIGHTS

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
PREDICTION_TYPES = tuple(name for name in DENOISED_WEIGHTS if name != FlowSchedule.prediction_type)
FINAL_SIGMAS_TYPES = ("zero", "sigma_min")

MAX_TIMESTEPS = 100_000
MAX_BETA = 0.999
# Zero terminal SNR means an infinite sigma_karras, from which no Karras grid can start. diffusers stands in the
# smallest subnormal of FP16 for alpha_bar = 0 (sigma_karras 4096); we do the same, so that our images equal its.
MIN_ALPHA_BAR = 2.0**-24


def alpha_bar_from_betas(
    num_train_timesteps: int,
    beta_start: float,
    beta_end: float,
    beta_schedule: str,
    rescale_betas_zero_snr: bool = False,
    trained_betas: Sequence[float] | None = None,
) -> np.ndarray:
    """alpha_bar (T,) float64 from the fields of a diffusers scheduler config; `trained_betas` replace the formula."""
    if trained_betas is not None:
        betas = np.asarray(trained_betas, np.float64)
        if not (len(betas) and np.all((betas > 0) & (betas <= 1))):
            raise ValueError("trained_betas: use one number a timestep, each above 0, up to 1")
    elif not 1 <= num_train_timesteps <= MAX_TIMESTEPS:
        raise ValueError(f"num_train_timesteps is {num_train_timesteps}: use 1 to {MAX_TIMESTEPS}")
    elif beta_schedule in ("linear", "scaled_linear") and not 0 < beta_start <= beta_end <= 1:
        raise ValueError(f"beta_start is {beta_start} and beta_end {beta_end}: use numbers above 0, up to 1, rising")
    elif beta_schedule == "linear":  # arXiv 2006.11239 sec. 4
        betas = np.linspace(beta_start, beta_end, num_train_timesteps)
    elif beta_schedule == "scaled_linear":  # arXiv 2112.10752, as in its code: linear in sqrt(beta)
        betas = np.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps) ** 2
    elif beta_schedule == "squaredcos_cap_v2":  # arXiv 2102.09672 eq. 17
        time = np.arange(num_train_timesteps + 1) / num_train_timesteps
        signal = np.cos((time + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - signal[1:] / signal[:-1], MAX_BETA)
    else:
        raise ValueError(f"beta_schedule is {beta_schedule!r}: use one of {', '.join(BETA_SCHEDULES)}")
    alpha_bar = np.cumprod(1 - betas)
    if rescale_betas_zero_snr and not alpha_bar[-1] < alpha_bar[0]:
        raise ValueError("rescale_betas_zero_snr is true, which needs a noise level below the first: set it to false")
    return _zero_terminal_snr(alpha_bar) if rescale_betas_zero_snr else alpha_bar


def _zero_terminal_snr(alpha_bar: np.ndarray) -> np.ndarray:
    """Shift and scale alpha so that the first level stays and the last is pure noise, arXiv 2305.08891 alg. 1."""
    alpha = np.sqrt(alpha_bar)
    return ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])) ** 2


@dataclass(frozen=True, eq=False)
class Schedule:
    """Variance-preserving schedule of a checkpoint, with its own scheduler's customs."""

    alpha_bar: np.ndarray  # (T,) float64, falling with the training timestep; 0 at the end: zero terminal SNR
    prediction_type: str = "epsilon"
    steps_offset: int = 0  # added to `leading` timesteps; Stable Diffusion uses 1
    set_alpha_to_one: bool = True  # false: DDIM and PNDM end at alpha_bar[0] instead of 1, as Stable Diffusion 1 does
    final_sigmas_type: str = "zero"  # "sigma_min": DPM++, UniPC and DEIS end at alpha_bar[0] instead of 1

    def __post_init__(self) -> None:
        levels = np.concatenate([[1.0], self.alpha_bar])
        if not (np.all(np.diff(levels) < 0) and levels[-1] >= 0):
            raise ValueError("alpha_bar must fall strictly, from below 1 to 0 or above: check the checkpoint's betas")
        if self.prediction_type not in PREDICTION_TYPES:
            raise ValueError(f"prediction_type is {self.prediction_type!r}: use one of {', '.join(PREDICTION_TYPES)}")
        if self.steps_offset < 0:
            raise ValueError(f"steps_offset is {self.steps_offset}: use 0 or more")
        if self.final_sigmas_type not in FINAL_SIGMAS_TYPES:
            allowed = ", ".join(FINAL_SIGMAS_TYPES)
            raise ValueError(f"final_sigmas_type is {self.final_sigmas_type!r}: use one of {allowed}")
        if self.prediction_type == "epsilon" and self.zero_terminal_snr:
            raise ValueError(
                "prediction_type is 'epsilon' with zero terminal SNR, where the noise says nothing about the image: "
                "use a checkpoint with prediction_type 'v_prediction', or set rescale_betas_zero_snr to false"
            )

    @property
    def num_train_timesteps(self) -> int:
        return len(self.alpha_bar)

    @property
    def zero_terminal_snr(self) -> bool:
        """The last level is pure noise, or so close to it that float32 coefficients would overflow."""
        return bool(self.alpha_bar[-1] < np.finfo(np.float32).tiny)

    @cached_property
    def finite_alpha_bar(self) -> np.ndarray:
        """`alpha_bar` (T,) with a stand-in at zero terminal SNR, where sigma_karras would be infinite."""
        return np.maximum(self.alpha_bar, MIN_ALPHA_BAR) if self.zero_terminal_snr else self.alpha_bar

    @cached_property
    def trained_sigma_karras(self) -> np.ndarray:
        """sigma / alpha (T,) float64 of every training timestep, rising, finite."""
        return np.sqrt(1 / self.finite_alpha_bar - 1)

    def level_at(self, sigma_karras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """alpha and sigma, each of the shape of `sigma_karras`."""
        alpha_bar = 1 / (1 + sigma_karras**2)
        return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)

    def timestep_at(self, sigma_karras: np.ndarray) -> np.ndarray:
        """Training timestep with its fraction, float64 of the same shape: linear in ln(sigma_karras), within 0..T-1."""
        trained = self.trained_sigma_karras
        return np.interp(np.log(sigma_karras), np.log(trained), np.arange(len(trained)))


def read_schedule(
    prediction_type: str = "epsilon",
    steps_offset: int = 0,
    set_alpha_to_one: bool = True,
    final_sigmas_type: str = "zero",
    **betas: Any,
) -> Schedule:
    """Schedule from "schedule" of `checkpoint.json`; `betas` are the arguments of `alpha_bar_from_betas`."""
    alpha_bar = alpha_bar_from_betas(**betas)
    return Schedule(alpha_bar, prediction_type, steps_offset, set_alpha_to_one, final_sigmas_type)
