"""Schedules and grids: equal to diffusers' wherever diffusers' are sound, and sound everywhere."""

import numpy as np
import pytest
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import SPACINGS, Schedule, alpha_bar_from_betas, make_grid

STABLE_DIFFUSION = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear")
SCHEDULERS = {False: DDIMScheduler, True: DPMSolverMultistepScheduler}  # by skip_zero
RELATIVE_FLOAT32 = 2e-5  # diffusers multiplies 1000 factors in float32


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_alpha_bar_equals_diffusers(beta_schedule, zero_snr):
    theirs = DDIMScheduler(1000, 0.00085, 0.012, beta_schedule, rescale_betas_zero_snr=zero_snr).alphas_cumprod.numpy()
    ours = alpha_bar_from_betas(1000, 0.00085, 0.012, beta_schedule, rescale_betas_zero_snr=zero_snr)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    if not zero_snr:
        np.testing.assert_allclose(ours, theirs, rtol=RELATIVE_FLOAT32)


def test_trained_betas_replace_the_formula():
    betas = np.linspace(0.001, 0.02, 100)
    theirs = DDPMScheduler(100, trained_betas=betas.tolist()).alphas_cumprod.numpy()
    ours = alpha_bar_from_betas(100, 0.1, 0.2, "linear", trained_betas=betas.tolist())
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE_FLOAT32)


def test_zero_terminal_snr_keeps_the_first_level_and_ends_at_exactly_zero():
    rescaled = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=True)
    assert rescaled[0] == pytest.approx(STABLE_DIFFUSION[0], rel=1e-12)
    assert rescaled[-1] == 0


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("skip_zero", [False, True])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_timesteps_equal_diffusers_wherever_those_are_sound(spacing, skip_zero, offset):
    """Unsound is: not N of them (trailing, N = 61, 103, ...), repeated (N = T), or past T - 1 (leading, N near T)."""
    schedule = Schedule(STABLE_DIFFUSION, steps_offset=offset)
    scheduler = SCHEDULERS[skip_zero](timestep_spacing=spacing, steps_offset=offset)
    sound = 0
    for steps in [*range(1, 130), *range(130, 1000, 13), 998, 999, 1000]:
        scheduler.set_timesteps(steps)
        theirs = scheduler.timesteps.numpy()
        if len(theirs) == steps and np.all(np.diff(theirs) < 0) and theirs[0] < 1000:
            sound += 1
            ours = make_grid(schedule, steps, spacing, skip_zero=skip_zero).timesteps
            np.testing.assert_array_equal(ours, theirs, err_msg=f"N = {steps}")
    assert sound > 150


@settings(max_examples=300, deadline=None)
@given(
    total=st.sampled_from([1, 2, 3, 50, 999, 1000]),
    share=st.floats(0, 1),
    spacing=st.sampled_from(SPACINGS),
    skip_zero=st.booleans(),
    offset=st.sampled_from([0, 1, 3, 5000]),
    zero_snr=st.booleans(),
)
def test_every_grid_falls_within_the_training_timesteps(total, share, spacing, skip_zero, offset, zero_snr):
    steps = max(1, round(share * total))
    zero_snr = zero_snr and total > 1
    alpha_bar = alpha_bar_from_betas(total, 0.00085, 0.012, "scaled_linear", zero_snr)
    grid = make_grid(Schedule(alpha_bar, "v_prediction", offset), steps, spacing, skip_zero=skip_zero)

    assert grid.timesteps.shape == (steps,)
    assert grid.timesteps.dtype == np.float32
    assert np.array_equal(grid.timesteps, grid.timesteps.round())
    assert grid.timesteps.min() >= 0
    assert grid.timesteps.max() <= total - 1
    # Karras levels lie closer than timesteps at the ends, so rounding may repeat a timestep, but never a level.
    assert np.all(np.diff(grid.timesteps) < (1 if spacing == "karras" else 0))
    assert grid.alpha_bar.shape == (steps + 1,)
    assert np.all(np.diff(grid.alpha_bar) > 0)
    assert grid.alpha_bar[-1] == 1


@pytest.mark.parametrize("beta_schedule", ["scaled_linear", "squaredcos_cap_v2"])
def test_karras_timesteps_are_the_nearest_to_their_levels(beta_schedule):
    """diffusers cuts the fraction off instead of rounding for squaredcos_cap_v2."""
    alpha_bar = alpha_bar_from_betas(1000, 0.00085, 0.012, beta_schedule)
    grid = make_grid(Schedule(alpha_bar), 20, "karras", skip_zero=True)
    log_snr = np.log(alpha_bar / (1 - alpha_bar))
    exact = np.interp(-2 * grid.lambda_[:-1], -log_snr, np.arange(1000))
    assert np.abs(grid.timesteps - exact).max() <= 0.5


def test_karras_grid_reaches_from_the_noisiest_to_the_cleanest_trained_level():
    grid = make_grid(Schedule(STABLE_DIFFUSION), 10, "karras", skip_zero=True)
    np.testing.assert_allclose(grid.alpha_bar[[0, -2]], STABLE_DIFFUSION[[-1, 0]], rtol=1e-12)


def test_epsilon_with_zero_terminal_snr_is_refused():
    rescaled = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=True)
    with pytest.raises(ValueError, match=r"'epsilon' with zero terminal SNR.*use a checkpoint with .*'v_prediction'"):
        Schedule(rescaled, "epsilon")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha_bar": STABLE_DIFFUSION[::-1]}, "alpha_bar must fall strictly"),
        ({"alpha_bar": np.array([0.5, np.nan])}, "alpha_bar must fall strictly"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow': use one of epsilon, v_prediction, sample"),
        ({"steps_offset": -1}, "steps_offset is -1: use 0 or more"),
    ],
)
def test_a_broken_schedule_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"alpha_bar": STABLE_DIFFUSION, **arguments})


def test_an_unknown_beta_schedule_is_refused():
    with pytest.raises(ValueError, match="beta_schedule is 'sigmoid': use one of linear, scaled_linear"):
        alpha_bar_from_betas(1000, 0.00085, 0.012, "sigmoid")
