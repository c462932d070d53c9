"""Samplers of two denoiser calls a step: the first leads to a node between, the second from the start to the end.

The first row remembers x for the second. Where a step ends without noise (s_next = 0) its first row does so already,
and there is no second: 2N - 1 rows. `s` is `sigma_karras`, `*_mid` belongs to the node between.
"""

import numpy as np

from ..grid import Grid
from .rows import MEMORY, AnySchedule, Rows, Sampler, ends

Weights = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""(N,) each: a, b, n, and in the second row c1, the weight of x at the step's start."""


def heun(schedule: AnySchedule, grid: Grid) -> Rows:
    """Heun's method, arXiv 2206.00364 alg. 1: the slopes at both ends of the step, averaged."""
    alpha, alpha_next = ends(grid.alpha)
    s, s_next = ends(grid.sigma_karras)
    bend = (s / s_next - 1) / 2
    second = (1 / 2 - bend, alpha_next * bend, np.zeros_like(s), alpha_next / (2 * alpha))
    rows = _two_rows(schedule, grid, s_next, _euler(schedule, grid, s_next), second)
    told_next = grid.timesteps[1:]  # the node between is the next one, and told as it is
    rows.timesteps[1::2][: len(told_next)] = told_next
    return rows


def dpm_2(schedule: AnySchedule, grid: Grid) -> Rows:
    """DPM-Solver-2, arXiv 2206.00927 alg. 1, as k-diffusion's `sample_dpm_2`: the slope at the middle in ln(s)."""
    return dpm_2_ancestral(schedule, grid, 0)


def dpm_2_ancestral(schedule: AnySchedule, grid: Grid, eta: float) -> Rows:
    """DPM-Solver-2 to s_down, then fresh noise up to s_next: k-diffusion's `sample_dpm_2_ancestral`."""
    alpha, alpha_next = ends(grid.alpha)
    s, s_next = ends(grid.sigma_karras)
    s_down, s_up = _ancestral(s, s_next, eta)
    s_mid = np.sqrt(s * s_down)
    alpha_mid, _ = schedule.level_at(s_mid)
    slope = alpha_next * (s_down - s) / s_mid
    second = (slope / alpha_mid, -slope, alpha_next * s_up, alpha_next / alpha)
    return _two_rows(schedule, grid, s_mid, _euler(schedule, grid, s_mid), second)


def dpmpp_2s_ancestral(schedule: AnySchedule, grid: Grid, eta: float) -> Rows:
    """DPM-Solver++(2S), arXiv 2211.01095 alg. 1, to s_down, then fresh noise: k-diffusion's form, r = 1/2."""
    _, alpha_next = ends(grid.alpha)
    sigma, _ = ends(grid.sigma)
    s, s_next = ends(grid.sigma_karras)
    s_down, s_up = _ancestral(s, s_next, eta)
    s_mid = np.sqrt(s * s_down)
    second = (np.zeros_like(s), alpha_next * (1 - s_down / s), alpha_next * s_up, alpha_next * s_down / sigma)
    return _two_rows(schedule, grid, s_mid, _euler(schedule, grid, s_mid), second)


def dpmpp_sde(schedule: AnySchedule, grid: Grid, eta: float) -> Rows:
    """DPM-Solver++ with an SDE's noise in both rows: k-diffusion's `sample_dpmpp_sde`, r = 1/2.

    The noises are increments of one Brownian path over s: that of the first row is part of the second's, which is why
    they are correlated. Independent noise would be another method.
    """
    _, alpha_next = ends(grid.alpha)
    sigma, _ = ends(grid.sigma)
    s, s_next = ends(grid.sigma_karras)
    s_mid = np.sqrt(s * s_next)
    mid_down, mid_up = _ancestral(s, s_mid, eta)
    s_down, s_up = _ancestral(s, s_next, eta)
    alpha_mid, _ = schedule.level_at(s_mid)
    first = (alpha_mid * mid_down / sigma, alpha_mid * (1 - mid_down / s), alpha_mid * mid_up, np.zeros_like(s))
    second = (np.zeros_like(s), alpha_next * (1 - s_down / s), alpha_next * s_up, alpha_next * s_down / sigma)
    correlation = np.where(s_up > 0, np.sqrt((s - s_mid) / (s - s_next)), 0)
    return _two_rows(schedule, grid, s_mid, first, second, correlation)


def _ancestral(s: np.ndarray, s_next: np.ndarray, eta: float) -> tuple[np.ndarray, np.ndarray]:
    """s_down and s_up with s_down^2 + s_up^2 = s_next^2: the level to step down to, and the noise to add there."""
    s_up = eta * s_next * np.sqrt(1 - (s_next / s) ** 2)
    return np.sqrt(s_next**2 - s_up**2), s_up


def _euler(schedule: AnySchedule, grid: Grid, s_mid: np.ndarray) -> Weights:
    """Euler's step from each node to `s_mid` (N,)."""
    sigma, _ = ends(grid.sigma)
    s, _ = ends(grid.sigma_karras)
    alpha_mid, sigma_mid = schedule.level_at(s_mid)
    return sigma_mid / sigma, alpha_mid * (1 - s_mid / s), np.zeros_like(s), np.zeros_like(s)


def _two_rows(
    schedule: AnySchedule,
    grid: Grid,
    s_mid: np.ndarray,
    first: Weights,
    second: Weights,
    noise_correlation: np.ndarray | None = None,
) -> Rows:
    """The rows of all steps, first and second in turn; no second in a step that ends without noise."""
    alpha_mid, sigma_mid = schedule.level_at(s_mid)
    steps = len(s_mid)
    none, one = np.zeros(steps), np.ones(steps)
    ends_clean = grid.sigma[-1] == 0
    ends_step = np.arange(2 * steps) % 2 == 1
    if ends_clean:
        ends_step = np.append(ends_step[:-2], True)

    def in_turn(of_first: np.ndarray, of_second: np.ndarray) -> np.ndarray:
        column = np.stack([of_first, of_second], axis=1).ravel()
        return column[:-1] if ends_clean else column

    a, b, n, c1 = (in_turn(*pair) for pair in zip(first, second))
    return Rows(
        timesteps=in_turn(grid.timesteps, schedule.timestep_at(s_mid)).astype(np.float32),
        alpha=in_turn(grid.alpha[:-1], alpha_mid),
        sigma=in_turn(grid.sigma[:-1], sigma_mid),
        a=a,
        b=b,
        c=np.stack([c1, *[np.zeros_like(c1)] * (MEMORY - 1)], axis=1),
        n=n,
        p=in_turn(one, none),
        q=in_turn(none, none),
        noise_correlation=in_turn(none, none if noise_correlation is None else noise_correlation),
        ends_step=ends_step,
    )


SAMPLERS = {
    "heun": Sampler(heun, "normal", "euler", from_pure_noise=False),
    "dpm_2": Sampler(dpm_2, "karras", "kdpm2", from_pure_noise=False),
    "dpm_2_ancestral": Sampler(dpm_2_ancestral, "karras", "kdpm2", {"eta": 1.0}, from_pure_noise=False),
    "dpmpp_2s_ancestral": Sampler(dpmpp_2s_ancestral, "karras", "euler", {"eta": 1.0}, from_pure_noise=False),
    "dpmpp_sde": Sampler(dpmpp_sde, "karras", "euler", {"eta": 1.0}, from_pure_noise=False),
}
