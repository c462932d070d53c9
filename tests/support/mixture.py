"""Toy data whose best denoiser is known exactly: every value is drawn from a mixture of three normals."""

from collections.abc import Callable

import numpy as np
from sampling import FlowSchedule, Schedule

Model = Callable[[np.ndarray, float], np.ndarray]
"""(x, timestep) -> model_output, both (..., h, w), in x's dtype."""

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


def level(schedule: Schedule | FlowSchedule, timestep: float) -> tuple[float, float]:
    """alpha and sigma at a timestep: of the checkpoint at whole ones, log-linear in sigma / alpha between them."""
    if isinstance(schedule, FlowSchedule):
        sigma = timestep / schedule.num_train_timesteps
        return 1 - sigma, sigma
    alpha_bar = schedule.alpha_bar[int(timestep)]
    if timestep != int(timestep):
        sigma_karras = np.sqrt(1 / np.maximum(schedule.alpha_bar, 2.0**-24) - 1)
        alpha_bar = 1 / (1 + np.exp(np.interp(timestep, np.arange(len(sigma_karras)), np.log(sigma_karras))) ** 2)
    return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)


def mixture_model(schedule: Schedule | FlowSchedule) -> Model:
    """The perfect denoiser for the mixture: what `schedule.prediction_type` asks for, at any timestep.

    It hears timesteps in float32, as a network does.
    """

    def model(x: np.ndarray, timestep: float) -> np.ndarray:
        alpha, sigma = level(schedule, float(np.float32(timestep)))
        denoised = denoised_mixture(x, alpha, sigma)
        epsilon = (x - alpha * denoised) / sigma
        outputs = {
            "epsilon": epsilon,
            "v_prediction": alpha * epsilon - sigma * denoised,
            "sample": denoised,
            "flow": epsilon - denoised,
        }
        return outputs[schedule.prediction_type].astype(x.dtype)

    return model
