"""Prediction types: the weights of `denoised = x_weight * x + output_weight * model_output`."""

from collections.abc import Callable

import numpy as np

Weights = tuple[np.ndarray, np.ndarray]  # x_weight, output_weight


def _epsilon(alpha: np.ndarray, sigma: np.ndarray) -> Weights:
    """denoised = (x - sigma*epsilon) / alpha, arXiv 2006.11239 eq. 15."""
    return 1 / alpha, -sigma / alpha


def _v_prediction(alpha: np.ndarray, sigma: np.ndarray) -> Weights:
    """denoised = alpha*x - sigma*v for alpha^2 + sigma^2 = 1, arXiv 2202.00512 app. D."""
    return alpha, -sigma


def _sample(alpha: np.ndarray, sigma: np.ndarray) -> Weights:
    """denoised = the output itself."""
    return np.zeros_like(alpha), np.ones_like(alpha)


def _flow(alpha: np.ndarray, sigma: np.ndarray) -> Weights:
    """denoised = x - sigma*(noise - image) for alpha + sigma = 1, arXiv 2403.03206 sec. 2."""
    return np.ones_like(alpha), -sigma


# From alpha and sigma (N,) float64 of each node.
DENOISED_WEIGHTS: dict[str, Callable[[np.ndarray, np.ndarray], Weights]] = {
    "epsilon": _epsilon,
    "v_prediction": _v_prediction,
    "sample": _sample,
    "flow": _flow,
}
