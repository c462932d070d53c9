"""Our tables against k-diffusion's loops, which own the loop and work at x / alpha, in float64 on the same nodes."""

import numpy as np
import pytest
import torch
from sampling import SAMPLERS, SPACINGS, Schedule, alpha_bar_from_betas, make_grid, step_table

from tests.support.k_diffusion import load_sampling
from tests.support.mixture import mixture_model
from tests.support.step_tables import run_table

KD = load_sampling()
STEPS = (1, 2, 3, 5, 8, 10, 20, 50)
SHAPE = (1, 2, 4, 4)
SCHEDULE = Schedule(alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear"), steps_offset=1)
TOLERANCE = 1e-9

# Ours, k-diffusion's, the eta that both are given. On variance-preserving levels DDIM(eta) is the ancestral Euler.
SAME = [
    ("euler", "sample_euler", None),
    ("euler_ancestral", "sample_euler_ancestral", 0.0),
    ("euler_ancestral", "sample_euler_ancestral", 0.5),
    ("euler_ancestral", "sample_euler_ancestral", 1.0),
    ("ddim", "sample_euler_ancestral", 0.0),
    ("ddim", "sample_euler_ancestral", 0.5),
    ("ddpm", "sample_euler_ancestral", 1.0),
    ("heun", "sample_heun", None),
    ("dpm_2", "sample_dpm_2", None),
    ("dpm_2_ancestral", "sample_dpm_2_ancestral", 0.5),
    ("dpm_2_ancestral", "sample_dpm_2_ancestral", 1.0),
    ("lms", "sample_lms", None),
    ("dpmpp_2s_ancestral", "sample_dpmpp_2s_ancestral", 0.0),
    ("dpmpp_2s_ancestral", "sample_dpmpp_2s_ancestral", 1.0),
    ("dpmpp_sde", "sample_dpmpp_sde", 0.0),
    ("dpmpp_sde", "sample_dpmpp_sde", 1.0),
    ("dpmpp_2m", "sample_dpmpp_2m", None),
    ("dpmpp_2m_sde", "sample_dpmpp_2m_sde", 1.0),
    ("dpmpp_3m_sde", "sample_dpmpp_3m_sde", 0.0),
    ("dpmpp_3m_sde", "sample_dpmpp_3m_sde", 1.0),
]


def normal(seed, count):
    return np.random.default_rng(seed).standard_normal((count, *SHAPE))


class Network:
    """The mixture's denoiser as k-diffusion calls it: of x / alpha, at a sigma / alpha, and told what our row tells."""

    def __init__(self, table):
        self._model = mixture_model(SCHEDULE)
        self._rows = zip(table.timesteps, -table.output_weight)  # for epsilon that is sigma / alpha

    def __call__(self, x, sigma):
        s = sigma[0].item()
        timestep, ours = next(self._rows)
        assert ours == pytest.approx(s, rel=1e-9)
        epsilon = self._model(x.numpy() / np.sqrt(1 + s**2), timestep)
        return x - s * torch.from_numpy(epsilon)


class BrownianNoise:
    """Increments of Brownian paths over sigma / alpha, scaled to variance 1; those from one start share a stretch."""

    def __init__(self, draws):
        self._draws = iter(draws)
        self._start, self._end, self._last = None, None, None

    def __call__(self, sigma, sigma_next):
        start, end = float(sigma), float(sigma_next)
        fresh = torch.from_numpy(next(self._draws))
        if start == self._start:
            shared = np.sqrt((start - self._end) / (start - end))
            fresh = shared * self._last + np.sqrt(1 - shared**2) * fresh
        self._start, self._end, self._last = start, end, fresh
        return fresh


def run_k_diffusion(function, grid, table, start, noise, eta):
    options = {} if eta is None else {"eta": eta, "noise_sampler": BrownianNoise(noise)}
    sigmas = torch.from_numpy(grid.sigma_karras)
    x = torch.from_numpy(grid.start_noise * start / grid.alpha[0])
    return getattr(KD, function)(Network(table), x, sigmas, disable=True, **options).numpy()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("sampler", "function", "eta"), SAME)
def test_equals_k_diffusion(sampler, function, eta, spacing):
    start = normal(0, 1)[0]
    for steps in STEPS:
        if steps == 1 and function in ("sample_dpmpp_2m_sde", "sample_dpmpp_3m_sde"):
            continue  # k-diffusion reads a variable that a single step has not set
        noise = normal(steps, 2 * steps)
        grid = make_grid(SCHEDULE, steps, spacing, SAMPLERS[sampler].convention)
        options = {"eta": eta} if "eta" in SAMPLERS[sampler].options else {}
        table = step_table(SCHEDULE, sampler, steps, spacing, **options)
        ours = run_table(table, mixture_model(SCHEDULE), start, noise)
        theirs = run_k_diffusion(function, grid, table, start, noise, eta)
        assert np.isfinite(theirs).all()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE, err_msg=f"{steps} steps")


def test_noise_of_dpmpp_sde_is_correlated_as_a_brownian_path_is():
    """The overlap of the two increments that k-diffusion's Brownian tree gives, measured there at 0.8."""
    table = step_table(SCHEDULE, "dpmpp_sde", 20)
    first, second = table.noise_correlation[:-1:2], table.noise_correlation[1::2]
    np.testing.assert_array_equal(first, 0)
    assert ((second > 0.7) & (second < 0.9)).all()
    assert not step_table(SCHEDULE, "dpmpp_sde", 20, eta=0.0).noise_correlation.any()
