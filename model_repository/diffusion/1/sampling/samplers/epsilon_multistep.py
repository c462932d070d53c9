"""Linear multistep methods over s = sigma / alpha (`sigma_karras`): samplers that remember epsilon.

In s the ODE is dx/ds = epsilon for x scaled by 1 / alpha (arXiv 2206.00364 eq. 1 with s(t) = 1), so that a step is
x_next / alpha_next = x / alpha + sum k_j * epsilon_j, with k_j the integral over the step of what stands for epsilon.
"""

import numpy as np

from ..grid import Grid
from .rows import MEMORY, AnySchedule, Rows, Sampler, ends, is_first_order, make_rows

ADAMS_BASHFORTH = np.array([[0, 0, 0], [-1 / 2, 0, 0], [-16 / 12, 5 / 12, 0], [-59 / 24, 37 / 24, -9 / 24]])
"""Weights of the past epsilons for equal steps, by how many there are; Hairer, Norsett and Wanner 1993, sec. III.1."""


def lms(schedule: AnySchedule, grid: Grid) -> Rows:
    """Adams-Bashforth of order 4 for unequal steps: k-diffusion's `sample_lms`.

    k_j is the integral of Lagrange's polynomial through the last four nodes, which two Gauss points give exactly.
    """
    s = grid.sigma_karras
    k = np.zeros((len(grid.timesteps), MEMORY))
    points, weights = np.polynomial.legendre.leggauss(2)
    for past in range(1, MEMORY + 1):  # each order replaces the one below where there are nodes enough
        i = np.arange(past, len(k))
        nodes = s[i[:, None] - np.arange(past + 1)]  # (steps, past + 1), the newest first
        middle, half = (s[i] + s[i + 1]) / 2, (s[i + 1] - s[i]) / 2
        t = middle[:, None] + half[:, None] * points  # (steps, 2)
        for j in range(1, past + 1):
            others = np.delete(nodes, j, axis=1)
            factors = (t[:, :, None] - others[:, None]) / (nodes[:, j, None] - others)[:, None]
            k[i, j - 1] = half * (factors.prod(axis=2) @ weights)
    return _epsilon_rows(grid, k)


def deis(schedule: AnySchedule, grid: Grid) -> Rows:
    """DEIS of order 2 that interpolates in ln(s), arXiv 2204.13902 eq. 15 (rho AB in log rho)."""
    s = grid.sigma_karras
    k = np.zeros((len(grid.timesteps), MEMORY))
    i = np.flatnonzero(~is_first_order(grid))
    # The integral from s to s_next of ln(t / s) / ln(s_prev / s) dt.
    k[i, 0] = (s[i + 1] * (np.log(s[i + 1] / s[i]) - 1) + s[i]) / np.log(s[i - 1] / s[i])
    return _epsilon_rows(grid, k)


def pndm(schedule: AnySchedule, grid: Grid) -> Rows:
    """PNDM without Runge-Kutta steps (PLMS), arXiv 2202.09778 alg. 2, its start as in latent diffusion's code.

    The second node is called twice: a first step by DDIM leads to it, its epsilon averaged with the first one's
    repeats that step, and from there Adams-Bashforth's weights for equal steps go on. N + 1 rows, or 1.
    """
    past = np.minimum(np.arange(len(grid.timesteps)), MEMORY)
    rows = _epsilon_rows(grid, np.diff(grid.sigma_karras)[:, None] * ADAMS_BASHFORTH[past])
    if len(past) == 1:
        return rows
    alpha, sigma = grid.alpha, grid.sigma
    change = sigma[1] - sigma[0] * alpha[1] / alpha[0]  # weight of epsilon in the first step
    again = {name: np.insert(column, 1, column[1], axis=0) for name, column in vars(rows).items()}
    again["a"][1] = 1 + change / (2 * sigma[1])
    again["b"][1] = -change * alpha[1] / (2 * sigma[1])
    again["c"][1] = [-change / 2, 0, 0]
    again["p"][1] = again["q"][1] = 0
    again["ends_step"][0] = False
    return Rows(**again)


def _epsilon_rows(grid: Grid, k: np.ndarray) -> Rows:
    """Rows of x_next / alpha_next = x / alpha + sum k_j * epsilon_j; `k` (N, 3) holds the weights of the past ones.

    That of the present one follows, since all sum to s_next - s; written so, nothing here is infinite at alpha = 0.
    """
    alpha, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    a = (sigma_next - alpha_next * k.sum(axis=1)) / sigma
    b = alpha_next - a * alpha
    c = alpha_next[:, None] * k
    return make_rows(grid, a, b, list(c.T), p=1 / sigma, q=-alpha / sigma)


SAMPLERS = {
    "lms": Sampler(lms, "normal", "euler", from_pure_noise=False),
    "deis": Sampler(deis, "karras", "dpmpp"),
    "pndm": Sampler(pndm, "leading", "ddim", from_pure_noise=False),
}
