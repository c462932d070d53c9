"""DPM-Solver++ of several steps: samplers that remember denoised.

`alpha`, `sigma` belong to a step's start, `*_next` to its end, and h is the step in lambda = ln(alpha / sigma). A step
that ends without noise (sigma_next = 0) gives `x' = denoised`.
"""

import numpy as np

from ..grid import Grid
from .rows import AnySchedule, Rows, Sampler, ends, is_first_order, make_rows


def dpmpp_2m(schedule: AnySchedule, grid: Grid) -> Rows:
    """DPM-Solver++(2M), arXiv 2211.01095 alg. 2."""
    _, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    h = np.diff(grid.lambda_)
    gain = -np.expm1(-h)  # 1 - exp(-h)
    half = _half_over_r(grid, h)
    a = sigma_next / sigma
    b = alpha_next * gain * (1 + half)
    c = -alpha_next * gain * half
    return make_rows(grid, a, b, [c])


def dpmpp_2m_sde(schedule: AnySchedule, grid: Grid) -> Rows:
    """SDE-DPM-Solver++(2M), arXiv 2211.01095v2, section on diffusion SDEs."""
    _, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    h = np.diff(grid.lambda_)
    gain = -np.expm1(-2 * h)  # 1 - exp(-2h)
    half = _half_over_r(grid, h)
    a = (sigma_next / sigma) * np.exp(-h)
    b = alpha_next * gain * (1 + half)
    c = -alpha_next * gain * half
    n = sigma_next * np.sqrt(gain)
    return make_rows(grid, a, b, [c], n=n)


def dpmpp_3m_sde(schedule: AnySchedule, grid: Grid, eta: float) -> Rows:
    """DPM-Solver++(3M) with an SDE's noise: k-diffusion's `sample_dpmpp_3m_sde`; eta = 0 is its ODE.

    Its second derivative has half the weight that interpolation would give it (phi_3 stands for 2 * phi_3), which
    makes the method second order. It is what everybody runs, so it stays.
    """
    _, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    h = np.diff(grid.lambda_)
    h1, h2 = h[1:-1], h[:-2]  # of the step before and of that before it, for the steps from the third on
    shrink = np.exp(-h)
    he = (1 + eta) * h
    gain = -np.expm1(-he)  # 1 - exp(-he)
    phi_2 = 1 - gain / he
    phi_3 = phi_2 / he - 0.5
    w, g, slope, bend = (np.zeros_like(h) for _ in range(4))
    w[2:] = h1 / (h1 + h2)  # both 0 after a step from zero terminal SNR, whose h is infinite
    g[2:] = h[2:] / (h1 + h2)
    slope[1:] = (phi_2 * (1 + w) - phi_3 * g)[1:] * h[1:] / h[:-1]  # weight of denoised - H1
    bend[2:] = (phi_3 * g - phi_2 * w)[2:] * h[2:] / h2  # weight of H1 - H2
    last = sigma_next == 0
    slope[last] = bend[last] = 0
    a = (sigma_next / sigma) * shrink**eta
    b = alpha_next * (gain + slope)
    c1 = alpha_next * (bend - slope)
    c2 = -alpha_next * bend
    n = sigma_next * np.sqrt(1 - shrink ** (2 * eta))
    return make_rows(grid, a, b, [c1, c2], n=n)


def _half_over_r(grid: Grid, h: np.ndarray) -> np.ndarray:
    """1 / (2r) with r = h_prev / h; 0, that is first order, where the method is.

    It is also 0 after a step from zero terminal SNR, whose h is infinite: that step's denoised is no slope to follow.
    """
    half = np.zeros_like(h)
    half[1:] = 0.5 * h[1:] / h[:-1]
    half[is_first_order(grid)] = 0
    return half


SAMPLERS = {
    "dpmpp_2m": Sampler(dpmpp_2m, "karras", "dpmpp"),
    "dpmpp_2m_sde": Sampler(dpmpp_2m_sde, "karras", "dpmpp"),
    "dpmpp_3m_sde": Sampler(dpmpp_3m_sde, "exponential", "dpmpp", {"eta": 1.0}),
}
