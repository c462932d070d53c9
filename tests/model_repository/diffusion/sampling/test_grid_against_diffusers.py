"""Grids against the schedulers of diffusers, in float64."""

import inspect
from functools import cache

import numpy as np
import pytest
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from sampling import Schedule, alpha_bar_from_betas, make_grid

from tests.support.beta import beta_distribution
from tests.support.double_precision import double_precision

BETAS = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
STABLE_DIFFUSION = alpha_bar_from_betas(**BETAS)
ZERO_SNR = alpha_bar_from_betas(**BETAS, rescale_betas_zero_snr=True)
STEPS = (1, 2, 3, 5, 8, 10, 20, 50)
MULTISTEP = (DPMSolverMultistepScheduler, UniPCMultistepScheduler, DEISMultistepScheduler)
ONE_CALL = (EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, LMSDiscreteScheduler)
DPM2 = (KDPM2DiscreteScheduler, KDPM2AncestralDiscreteScheduler)
TWO_CALLS = (HeunDiscreteScheduler, *DPM2)
CONVENTION = (
    dict.fromkeys(MULTISTEP, "dpmpp") | dict.fromkeys(ONE_CALL + TWO_CALLS, "euler") | dict.fromkeys(DPM2, "kdpm2")
)
BY_TIMESTEPS = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler, "dpmpp": DPMSolverMultistepScheduler}
AS_FLOAT32 = 1e-6  # relative, of timesteps


class OurSciPy:
    """`scipy.stats.beta` for diffusers' `use_beta_sigmas`, by bisection."""

    def __init__(self) -> None:
        self.stats = self.beta = self

    @staticmethod
    @cache
    def ppf(p: float, a: float, b: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if beta_distribution(middle, a) < p else (low, middle)
        return (low + high) / 2


def diffusers_grid(scheduler, steps, **options):
    """sigma_karras (N,), the next one, timesteps (N,) and the first latent's scale, of a scheduler in float64."""
    with double_precision(scheduler):
        theirs = scheduler(**BETAS, **options)
        theirs.set_timesteps(steps)
        sigma_karras, timesteps = np.array(theirs.sigmas), np.array(theirs.timesteps)
        if scheduler in TWO_CALLS:  # every node but the first is there twice
            sigma_karras, timesteps = np.append(sigma_karras[:-1:2], 0.0), timesteps[::2]
        assert sigma_karras.dtype == np.float64
        scale = float(theirs.init_noise_sigma) / (np.hypot(sigma_karras[0], 1) if scheduler not in MULTISTEP else 1)
    return sigma_karras, timesteps, scale


def assert_equal(grid, sigma_karras, timesteps):
    np.testing.assert_allclose(grid.sigma_karras[:-1], sigma_karras, rtol=1e-9)
    np.testing.assert_allclose(grid.timesteps, timesteps, rtol=AS_FLOAT32, atol=1e-9)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("scheduler", [*MULTISTEP, *ONE_CALL, *TWO_CALLS])
def test_levels_timesteps_and_start_equal_diffusers(scheduler, spacing):
    schedule = Schedule(STABLE_DIFFUSION, steps_offset=1)
    for steps in STEPS:
        sigma_karras, timesteps, scale = diffusers_grid(scheduler, steps, timestep_spacing=spacing, steps_offset=1)
        grid = make_grid(schedule, steps, spacing, CONVENTION[scheduler])
        assert_equal(grid, sigma_karras[:steps], timesteps)
        assert grid.start_noise == pytest.approx(scale, rel=1e-9)


@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("scheduler", [*MULTISTEP, *ONE_CALL, *TWO_CALLS])
def test_spaced_levels_equal_diffusers(scheduler, spacing, monkeypatch):
    if f"use_{spacing}_sigmas" not in inspect.signature(scheduler.__init__).parameters:
        pytest.skip("diffusers has no such option")
    module = __import__(scheduler.__module__, fromlist=["scipy"])
    monkeypatch.setattr(module, "is_scipy_available", lambda: True)
    monkeypatch.setattr(module, "scipy", OurSciPy(), raising=False)
    schedule = Schedule(STABLE_DIFFUSION)
    for steps in STEPS:
        if steps == 1 and scheduler not in MULTISTEP:
            continue  # diffusers' linspace of one timestep is 0, so that its grid would start without noise
        options = {f"use_{spacing}_sigmas": True, "timestep_spacing": "linspace"}
        sigma_karras, timesteps, scale = diffusers_grid(scheduler, steps, **options)
        grid = make_grid(schedule, steps, spacing, CONVENTION[scheduler])
        assert_equal(grid, sigma_karras[:steps], timesteps)
        assert grid.start_noise == pytest.approx(scale, rel=1e-9)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("convention", BY_TIMESTEPS)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_timesteps_equal_diffusers_wherever_those_are_sound(spacing, convention, offset):
    """Unsound is: not N of them (trailing, N = 61, 103, ...), repeated (N = T), or past T - 1 (leading, N near T)."""
    schedule = Schedule(STABLE_DIFFUSION, steps_offset=offset)
    scheduler = BY_TIMESTEPS[convention](timestep_spacing=spacing, steps_offset=offset)
    sound = 0
    for steps in [*range(1, 130), *range(130, 1000, 13), 998, 999, 1000]:
        scheduler.set_timesteps(steps)
        theirs = scheduler.timesteps.numpy()
        if len(theirs) == steps and np.all(np.diff(theirs) < 0) and theirs[0] < 1000:
            sound += 1
            ours = make_grid(schedule, steps, spacing, convention).timesteps
            np.testing.assert_array_equal(ours, theirs, err_msg=f"N = {steps}")
    assert sound > 150


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_pndm_visits_the_timesteps_of_ddim(spacing):
    scheduler = PNDMScheduler(**BETAS, skip_prk_steps=True, timestep_spacing=spacing, steps_offset=1)
    for steps in STEPS[1:]:
        scheduler.set_timesteps(steps)
        theirs = np.delete(scheduler.timesteps.numpy(), 1)  # where PNDM calls the network twice
        ours = make_grid(Schedule(STABLE_DIFFUSION, steps_offset=1), steps, spacing, "ddim").timesteps
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("convention", "scheduler"), [("lcm", LCMScheduler), ("tcd", TCDScheduler)])
def test_trailing_of_distilled_models_equals_diffusers(convention, scheduler):
    theirs = scheduler(**BETAS)
    for steps in range(1, 51):
        theirs.set_timesteps(steps)
        grid = make_grid(Schedule(STABLE_DIFFUSION), steps, "trailing", convention)
        np.testing.assert_array_equal(grid.timesteps, theirs.timesteps.numpy())
    with pytest.raises(ValueError, match=r"num_inference_steps is 51, .* own spacing has 50 timesteps: use 1 to 50"):
        make_grid(Schedule(STABLE_DIFFUSION), 51, "trailing", convention)


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "karras"])
def test_a_finite_start_of_zero_terminal_snr_equals_diffusers(spacing):
    named = {"timestep_spacing": spacing} if spacing != "karras" else {"use_karras_sigmas": True}
    for steps in STEPS[1:]:
        sigma_karras, _, scale = diffusers_grid(EulerDiscreteScheduler, steps, rescale_betas_zero_snr=True, **named)
        for convention in ("euler", "kdpm2"):
            grid = make_grid(Schedule(ZERO_SNR, "v_prediction"), steps, spacing, convention)
            np.testing.assert_allclose(grid.sigma_karras[:-1], sigma_karras[:steps], rtol=1e-9)
            assert grid.start_noise == pytest.approx(scale, rel=1e-9)


# Written from the published descriptions, apart from the code under test.


def test_the_last_node_of_dpmpp_equals_diffusers():
    options = {"final_sigmas_type": "sigma_min", "timestep_spacing": "linspace"}
    for scheduler in (DPMSolverMultistepScheduler, UniPCMultistepScheduler):
        sigma_karras, _, _ = diffusers_grid(scheduler, 10, **options)
        schedule = Schedule(STABLE_DIFFUSION, final_sigmas_type="sigma_min")
        np.testing.assert_allclose(make_grid(schedule, 10, "linspace", "dpmpp").sigma_karras, sigma_karras, rtol=1e-9)
