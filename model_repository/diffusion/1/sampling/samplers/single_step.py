"""Samplers without memory: one denoiser call a step.

`alpha`, `sigma` belong to a step's start, `*_next` to its end, and s = sigma / alpha (`sigma_karras`).
"""

import numpy as np

from ..grid import Grid
from ..schedule import Schedule
from .rows import AnySchedule, Rows, Sampler, ends, make_rows

CONSISTENCY_SCALE = 10.0  # of LCM's timesteps
CONSISTENCY_DATA = 0.5  # LCM's standard deviation of the data
TCD_GAMMA = 0.3  # arXiv 2402.19159 sec. 4.1: 0 is deterministic, 1 as noisy as LCM


def ddpm(schedule: AnySchedule, grid: Grid) -> Rows:
    """DDPM with its fixed small variance, arXiv 2006.11239 eq. 7."""
    alpha, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    beta = 1 - alpha**2 / alpha_next**2
    a = alpha * sigma_next**2 / (alpha_next * sigma**2)
    b = alpha_next * beta / sigma**2
    n = (sigma_next / sigma) * np.sqrt(beta)
    return make_rows(grid, a, b, n=n)


def ddim(schedule: AnySchedule, grid: Grid, eta: float) -> Rows:
    """DDIM, arXiv 2010.02502 eq. 12 and 16; eta = 0 is deterministic, eta = 1 is DDPM."""
    alpha, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    n = eta * (sigma_next / sigma) * np.sqrt(1 - alpha**2 / alpha_next**2)
    k = np.sqrt(sigma_next**2 - n**2)
    a = k / sigma
    b = alpha_next - k * alpha / sigma
    return make_rows(grid, a, b, n=n)


def euler(schedule: AnySchedule, grid: Grid) -> Rows:
    """Euler's method, arXiv 2206.00364 alg. 1 without its second-order correction; DDIM without noise."""
    alpha, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    a = sigma_next / sigma
    b = alpha_next - a * alpha
    return make_rows(grid, a, b)


def euler_ancestral(schedule: AnySchedule, grid: Grid, eta: float) -> Rows:
    """Euler's method to s_down, then fresh noise up to s_next: k-diffusion's `sample_euler_ancestral`."""
    alpha, alpha_next = ends(grid.alpha)
    sigma, sigma_next = ends(grid.sigma)
    fall = sigma_next * alpha / (alpha_next * sigma)  # s_next / s
    up = eta * np.sqrt(1 - fall**2)  # s_up / s_next
    down = np.sqrt(1 - up**2)  # s_down / s_next
    a = sigma_next * down / sigma
    b = alpha_next - a * alpha
    n = sigma_next * up
    return make_rows(grid, a, b, n=n)


def lcm(schedule: AnySchedule, grid: Grid) -> Rows:
    """Multistep consistency sampling of latent consistency models, arXiv 2310.04378 alg. 3; it ends at f(x)."""
    _, alpha_next = ends(grid.alpha)
    _, sigma_next = ends(grid.sigma)
    scaled = CONSISTENCY_SCALE * grid.timesteps.astype(np.float64)
    c_skip = CONSISTENCY_DATA**2 / (scaled**2 + CONSISTENCY_DATA**2)
    c_out = scaled / np.sqrt(scaled**2 + CONSISTENCY_DATA**2)
    a = alpha_next * c_skip
    b = alpha_next * c_out
    return make_rows(grid, a, b, n=sigma_next)


def tcd(schedule: Schedule, grid: Grid) -> Rows:
    """Strategic stochastic sampling of trajectory consistency distillation, arXiv 2402.19159 alg. 4.

    A step goes to timestep u = floor((1 - gamma) * t_next) and from there, by fresh noise, up to t_next.
    """
    alpha, alpha_next = ends(grid.alpha)
    sigma, _ = ends(grid.sigma)
    timestep_next = np.append(grid.timesteps[1:], 0).astype(np.float64)
    u = np.floor((1 - TCD_GAMMA) * timestep_next).astype(np.int64)
    alpha_u = np.sqrt(schedule.alpha_bar[u])
    sigma_u = np.sqrt(1 - schedule.alpha_bar[u])
    kept = np.minimum(alpha_next / alpha_u, 1)
    a = kept * sigma_u / sigma
    b = kept * (alpha_u - sigma_u * alpha / sigma)
    n = np.sqrt(1 - kept**2)
    return make_rows(grid, a, b, n=n)


SAMPLERS = {
    "ddpm": Sampler(ddpm, "trailing", "ddpm"),
    "ddim": Sampler(ddim, "trailing", "ddim", {"eta": 0.0}),
    "euler": Sampler(euler, "normal", "euler"),
    "euler_ancestral": Sampler(euler_ancestral, "normal", "euler", {"eta": 1.0}),
    "lcm": Sampler(lcm, "trailing", "lcm"),
    "tcd": Sampler(tcd, "trailing", "tcd"),
}
