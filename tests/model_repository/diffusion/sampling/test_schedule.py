"""Schedules: alpha_bar equal to diffusers', and nothing broken let through."""

import numpy as np
import pytest
from diffusers import DDIMScheduler, DDPMScheduler
from sampling import Schedule, alpha_bar_from_betas, read_schedule

STABLE_DIFFUSION = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear")
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


def test_a_checkpoint_in_words_is_its_schedule():
    fields = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    schedule = read_schedule(**fields)
    np.testing.assert_array_equal(schedule.alpha_bar, STABLE_DIFFUSION)
    assert schedule.num_train_timesteps == 1000
    assert (schedule.prediction_type, schedule.steps_offset) == ("epsilon", 0)
    assert (schedule.set_alpha_to_one, schedule.final_sigmas_type) == (True, "zero")

    customs = {"prediction_type": "v_prediction", "steps_offset": 1, "set_alpha_to_one": False}
    schedule = read_schedule(**fields, rescale_betas_zero_snr=True, final_sigmas_type="sigma_min", **customs)
    assert schedule.alpha_bar[-1] == 0
    assert schedule.final_sigmas_type == "sigma_min"
    assert {name: getattr(schedule, name) for name in customs} == customs


def test_a_field_that_no_schedule_has_is_refused():
    with pytest.raises(TypeError, match="sigma_data"):
        read_schedule(num_train_timesteps=10, beta_start=0.1, beta_end=0.2, beta_schedule="linear", sigma_data=0.5)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_levels_and_timesteps_of_a_sigma_karras_are_the_trained_ones(zero_snr):
    alpha_bar = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear", zero_snr)
    schedule = Schedule(alpha_bar, "v_prediction")
    alpha, sigma = schedule.level_at(schedule.trained_sigma_karras)
    np.testing.assert_allclose(alpha, np.sqrt(schedule.finite_alpha_bar), rtol=1e-9)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-15)
    np.testing.assert_allclose(schedule.timestep_at(schedule.trained_sigma_karras), np.arange(1000), atol=1e-9)
    assert schedule.timestep_at(np.array([1e-9, 1e9])).tolist() == [0, 999]
    assert schedule.zero_terminal_snr == zero_snr
    np.testing.assert_array_equal(schedule.finite_alpha_bar[:-1], alpha_bar[:-1])


@pytest.mark.parametrize("last", [0.0, 5e-324, 1e-310, 1e-40])
def test_an_end_too_noisy_for_float32_counts_as_zero_terminal_snr(last):
    alpha_bar = np.array([0.9, 0.5, last])
    assert np.isfinite(Schedule(alpha_bar, "v_prediction").trained_sigma_karras).all()
    with pytest.raises(ValueError, match="'epsilon' with zero terminal SNR"):
        Schedule(alpha_bar, "epsilon")


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
        ({"final_sigmas_type": "one"}, "final_sigmas_type is 'one': use one of zero, sigma_min"),
    ],
)
def test_a_broken_schedule_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"alpha_bar": STABLE_DIFFUSION, **arguments})


def test_an_unknown_beta_schedule_is_refused():
    with pytest.raises(ValueError, match="beta_schedule is 'sigmoid': use one of linear, scaled_linear"):
        alpha_bar_from_betas(1000, 0.00085, 0.012, "sigmoid")
