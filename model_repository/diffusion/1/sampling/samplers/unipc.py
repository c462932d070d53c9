"""UniPC: a predictor whose every step also corrects the one before, at no further call of the denoiser.

The corrected x is never stored: correcting and the next prediction are both linear, so one row does both. With the
predictor's weights P of the step before and the corrector's C of the same step (of H0 = denoised, H1, H2),

    x_corrected = x + C0*H0 + (C1 - P0)*H1 + (C2 - P1)*H2
"""

import numpy as np

from ..grid import Grid
from .rows import AnySchedule, Rows, Sampler, ends, make_rows


def unipc(schedule: AnySchedule, grid: Grid) -> Rows:
    """UniPC of order 2 on denoised with B(h) = exp(-h) - 1 ("bh2"), arXiv 2302.04867 alg. 5-8: diffusers' default."""
    _, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    h = np.diff(grid.lambda_)
    r = _ratios(h)
    predictor, corrector = _predictor(alpha_next, h, r), _corrector(alpha_next, h, r)
    correction = np.zeros((3, len(h)))
    correction[:, 1:] = corrector[:, :-1]
    correction[1:, 1:] -= predictor[:2, :-1]
    a = sigma_next / sigma
    b = a * correction[0] + predictor[0]
    c1 = a * correction[1] + predictor[1]
    c2 = a * correction[2]
    return make_rows(grid, a, b, [c1, c2])


def _ratios(h: np.ndarray) -> np.ndarray:
    """(N,) r = -h_prev / h, where the node before lies in units of the step; -inf where the order is 1.

    That is in the first step and in the last, and after a step from zero terminal SNR.
    """
    r = np.full_like(h, -np.inf)
    r[1:-1] = -h[:-2] / h[1:-1]
    return r


def _predictor(alpha_next: np.ndarray, h: np.ndarray, r: np.ndarray) -> np.ndarray:
    """(2, N) weights of denoised and of the one before in x_next; eq. 3 with rho = 1/2, as for order 2."""
    growth = np.expm1(-h)
    old = -alpha_next * growth / (2 * r)
    return np.stack([-alpha_next * growth - old, old])


def _corrector(alpha_next: np.ndarray, h: np.ndarray, r: np.ndarray) -> np.ndarray:
    """(3, N) weights of denoised at a step's end, at its start and before, in the corrected x_next; eq. 9."""
    growth = np.expm1(-h)
    b1 = (-growth / h - 1) / growth  # the right side of the system for rho, from phi_2 and phi_3
    b2 = 2 * ((-growth / h - 1) / -h - 1 / 2) / growth
    second = np.isfinite(r)
    rho_old = np.where(second, (b1 - b2) / (1 - r), 0)
    rho_new = np.where(second, b1 - rho_old, 1 / 2)
    new = -alpha_next * growth * rho_new
    old = -alpha_next * growth * rho_old / r
    return np.stack([new, -alpha_next * growth - new - old, old])


SAMPLERS = {"unipc": Sampler(unipc, "karras", "dpmpp")}
