"""Toy data whose best denoiser is known exactly, and the loop of one request, for the sampling tests."""

from collections.abc import Callable

import numpy as np
import pytest
from sampling import Schedule, StepTable, advance, alpha_bar_from_betas

Model = Callable[[np.ndarray, float], np.ndarray]  # (x, timestep) -> model_output, both (..., h, w) float32

MEANS = np.array([-1.2, 0.3, 0.9])
WEIGHTS = np.array([0.3, 0.5, 0.2])
STD = 0.35


def denoised_mixture(x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
    """E[x0 | x] in float64, where every value of x0 is drawn from a mixture of three normals, each as wide as STD."""
    x = x.astype(np.float64)[..., None]
    variance = alpha**2 * STD**2 + sigma**2
    log_share = np.log(WEIGHTS) - (x - alpha * MEANS) ** 2 / (2 * variance)
    share = np.exp(log_share - log_share.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    posterior_mean = MEANS + alpha * STD**2 / variance * (x - alpha * MEANS)
    return (share * posterior_mean).sum(axis=-1)


def mixture_model(schedule: Schedule) -> Model:
    """The perfect UNet for the mixture: what `schedule.prediction_type` asks for, at an integer timestep."""

    def model(x: np.ndarray, timestep: float) -> np.ndarray:
        alpha_bar = schedule.alpha_bar[int(timestep)]
        alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
        denoised = denoised_mixture(x, alpha, sigma)
        epsilon = (x - alpha * denoised) / sigma
        output = epsilon if schedule.prediction_type == "epsilon" else alpha * epsilon - sigma * denoised
        return output.astype(np.float32)

    return model


@pytest.fixture(scope="session")
def stable_diffusion() -> Callable[..., Schedule]:
    """Schedules with Stable Diffusion's betas."""

    def schedule(prediction_type: str = "epsilon", steps_offset: int = 0, zero_snr: bool = False) -> Schedule:
        alpha_bar = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear", zero_snr)
        return Schedule(alpha_bar, prediction_type, steps_offset)

    return schedule


@pytest.fixture(scope="session")
def perfect_model() -> Callable[[Schedule], Model]:
    return mixture_model


@pytest.fixture(scope="session")
def run_table() -> Callable[[StepTable, Model, np.ndarray, np.ndarray], np.ndarray]:
    """The loop of one request: table, model, first latent (1, C, h, w), noise of each step (N, 1, C, h, w)."""

    def run(table: StepTable, model: Model, latent: np.ndarray, noise: np.ndarray) -> np.ndarray:
        latent, old_denoised = latent.copy(), np.full_like(latent, np.nan)
        for i in range(len(table)):
            model_output = model(latent, table.timesteps[i])
            advance(latent, model_output, old_denoised, noise[i].copy(), table.coefficients[i : i + 1])
        return latent

    return run
