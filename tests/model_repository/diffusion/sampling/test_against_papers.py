"""Samplers on the nodes of all spacings against loops that own the loop: the papers', or diffusers' given our nodes."""

import diffusers
import numpy as np
import pytest
import torch
from sampling import SAMPLERS, SPACINGS, Schedule, alpha_bar_from_betas, make_grid, step_table

from tests.support.double_precision import double_precision
from tests.support.mixture import mixture_model
from tests.support.step_tables import run_table

STEPS = (1, 2, 3, 5, 8, 10, 20, 50)
SHAPE = (1, 2, 4, 4)
SCHEDULE = Schedule(alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear"), steps_offset=1)
MODEL = mixture_model(SCHEDULE)
TOLERANCE = 1e-9


def nodes(grid):
    """Timestep, alpha, sigma, alpha_next, sigma_next of each step."""
    return zip(grid.timesteps.tolist(), grid.alpha, grid.sigma, grid.alpha[1:], grid.sigma[1:])


def lcm(grid, x, noise):
    """arXiv 2310.04378 alg. 3: f(x) by eq. 9, its code's c_skip and c_out, then noise up to the next node."""
    for (t, alpha, sigma, alpha_next, sigma_next), z in zip(nodes(grid), noise):
        denoised = (x - sigma * MODEL(x, t)) / alpha
        f = 0.25 / ((10 * t) ** 2 + 0.25) * x + 10 * t / np.sqrt((10 * t) ** 2 + 0.25) * denoised
        x = alpha_next * f + sigma_next * z
    return x


def tcd(grid, x, noise):
    """arXiv 2402.19159 alg. 4 with gamma = 0.3: DDIM down to timestep (1 - gamma) * t', then noise up to t'."""
    told_next = [*grid.timesteps[1:].tolist(), 0]
    for (t, alpha, sigma, alpha_next, _), t_next, z in zip(nodes(grid), told_next, noise):
        epsilon = MODEL(x, t)
        alpha_bar = SCHEDULE.alpha_bar[int(0.7 * t_next)]
        down = np.sqrt(alpha_bar) * (x - sigma * epsilon) / alpha + np.sqrt(1 - alpha_bar) * epsilon
        kept = alpha_next**2 / alpha_bar
        x = np.sqrt(kept) * down + np.sqrt(max(1 - kept, 0)) * z
    return x


def pndm(grid, x, noise):
    """arXiv 2202.09778: transfer by eq. 11 along the linear multistep epsilon of eq. 12; started as alg. 2 of PLMS."""
    past = []
    for i, (t, alpha, sigma, alpha_next, sigma_next) in enumerate(nodes(grid)):

        def transfer(x, epsilon, alpha=alpha, sigma=sigma, alpha_next=alpha_next, sigma_next=sigma_next):
            return alpha_next / alpha * (x - sigma * epsilon) + sigma_next * epsilon

        past.append(MODEL(x, t))
        weights = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
        epsilon = sum(weight * old for weight, old in zip(weights[min(i, 3)], past[::-1]))
        if i == 0 and len(grid.timesteps) > 1:
            epsilon = (past[0] + MODEL(transfer(x, past[0]), grid.timesteps[1])) / 2
        x = transfer(x, epsilon)
    return x


def solver(name):
    """diffusers' solver of this name in float64 on our nodes; its last step, to no noise, is its last denoised."""

    def run(grid, x, noise):
        cls = getattr(diffusers, name)
        with double_precision(cls):
            scheduler = cls(1000, 0.00085, 0.012, "scaled_linear")
            scheduler.set_timesteps(len(grid.timesteps))
            scheduler.set_begin_index(0)
            scheduler.sigmas = torch.from_numpy(grid.sigma_karras)
            x = torch.from_numpy(x)
            for t in grid.timesteps[:-1].tolist():
                x = scheduler.step(torch.from_numpy(MODEL(x.numpy(), t)), t, x).prev_sample
            output = torch.from_numpy(MODEL(x.numpy(), grid.timesteps[-1]))
            if name == "UniPCMultistepScheduler":  # which corrects x before
                return scheduler.step(output, grid.timesteps[-1], x).prev_sample.numpy()
        return ((x - grid.sigma[-2] * output) / grid.alpha[-2]).numpy()

    return run


LOOPS = {
    "lcm": lcm,
    "tcd": tcd,
    "pndm": pndm,
    "unipc": solver("UniPCMultistepScheduler"),
    "deis": solver("DEISMultistepScheduler"),
}


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sampler", LOOPS)
def test_equals_the_loop_on_the_same_nodes(sampler, spacing):
    start = np.random.default_rng(0).standard_normal(SHAPE)
    for steps in STEPS:
        noise = np.random.default_rng(steps).standard_normal((steps, *SHAPE))
        grid = make_grid(SCHEDULE, steps, spacing, SAMPLERS[sampler].convention)
        ours = run_table(step_table(SCHEDULE, sampler, steps, spacing), MODEL, start, noise)
        np.testing.assert_allclose(ours, LOOPS[sampler](grid, start, noise), rtol=0, atol=TOLERANCE, err_msg=str(steps))
