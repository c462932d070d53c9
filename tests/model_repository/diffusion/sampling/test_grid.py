"""Grids: sound everywhere, and equal to the published formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import SPACINGS, FlowSchedule, Schedule, alpha_bar_from_betas, make_grid
from sampling.beta import beta_quantiles
from sampling.spacing import CONVENTIONS

from tests.support.beta import beta_distribution

BETAS = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
STABLE_DIFFUSION = alpha_bar_from_betas(**BETAS)
ZERO_SNR = alpha_bar_from_betas(**BETAS, rescale_betas_zero_snr=True)
LOG_SIGMA_KARRAS = np.log(1 / STABLE_DIFFUSION - 1) / 2
STEPS = (1, 2, 3, 5, 8, 10, 20, 50)
AS_FLOAT32 = 1e-6  # relative, of timesteps


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(
    ("spacing", "index"),
    [
        ("simple", lambda steps: [999 - int(k * (1000 / steps)) for k in range(steps)]),
        ("normal", lambda steps: np.linspace(999, 0, steps)),
        ("sgm_uniform", lambda steps: np.linspace(999, 0, steps + 1)[:steps]),
    ],
)
def test_spaced_timesteps_equal_comfyui_and_k_diffusion(spacing, index, steps):
    timesteps = np.array(index(steps), np.float64)
    whole = np.minimum(timesteps.astype(int), 998)
    part = timesteps - whole
    sigma_karras = np.exp((1 - part) * LOG_SIGMA_KARRAS[whole] + part * LOG_SIGMA_KARRAS[whole + 1])
    for convention in CONVENTIONS:
        grid = make_grid(Schedule(STABLE_DIFFUSION), steps, spacing, convention)
        np.testing.assert_allclose(grid.sigma_karras[:-1], sigma_karras, rtol=1e-9)
        np.testing.assert_allclose(grid.timesteps, timesteps, rtol=AS_FLOAT32, atol=1e-9)


@pytest.mark.parametrize("steps", STEPS)
def test_ays_is_log_linear_between_the_published_levels(steps):
    published = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
    nodes = []
    for k in range(steps):
        whole, part = divmod(10 * k, steps)
        nodes.append(published[whole] ** (1 - part / steps) * published[whole + 1] ** (part / steps))
    grid = make_grid(Schedule(STABLE_DIFFUSION), steps, "ays", "dpmpp")
    np.testing.assert_allclose(grid.sigma_karras, [*nodes, 0], rtol=1e-12)


def test_ays_lies_near_the_timesteps_that_nvidia_publishes():
    grid = make_grid(Schedule(STABLE_DIFFUSION), 10, "ays", "dpmpp")
    published = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]
    np.testing.assert_allclose(grid.timesteps, published, atol=0.6)


def test_ays_is_refused_where_it_starts_above_the_trained_levels():
    short = alpha_bar_from_betas(1000, 0.0001, 0.005, "linear")
    with pytest.raises(ValueError, match=r"'ays', which starts at sigma_karras 14.615, .* up to 3.444 only"):
        make_grid(Schedule(short), 10, "ays", "ddim")


def test_beta_quantiles_invert_the_distribution():
    p = np.concatenate([np.linspace(0, 1, 1001), [1e-9, 1e-4, 0.5 - 1e-12, 0.5 + 1e-12]])
    assert [beta_distribution(x) for x in beta_quantiles(p, 0.6)] == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("convention", ["ddim", "dpmpp"])
@pytest.mark.parametrize("alpha_bar", [STABLE_DIFFUSION, alpha_bar_from_betas(1000, 0, 0, "squaredcos_cap_v2")])
def test_karras_timesteps_are_the_nearest_to_their_levels(alpha_bar, convention):
    """diffusers cuts the fraction off instead of rounding for squaredcos_cap_v2."""
    grid = make_grid(Schedule(alpha_bar), 20, "karras", convention)
    log_snr = np.log(alpha_bar / (1 - alpha_bar))
    exact = np.interp(-2 * grid.lambda_[:-1], -log_snr, np.arange(1000))
    assert np.abs(grid.timesteps - exact).max() <= 0.5


@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_spaced_levels_reach_from_the_noisiest_to_the_cleanest_trained(convention, spacing):
    grid = make_grid(Schedule(STABLE_DIFFUSION), 10, spacing, convention)
    np.testing.assert_allclose(grid.alpha[[0, -2]] ** 2, STABLE_DIFFUSION[[-1, 0]], rtol=1e-12)
    assert grid.timesteps[[0, -1]] == pytest.approx([999, 0], abs=1e-6)
    one = make_grid(Schedule(STABLE_DIFFUSION), 1, spacing, convention)
    assert one.alpha[0] ** 2 == pytest.approx(STABLE_DIFFUSION[-1], rel=1e-12)


@pytest.mark.parametrize(
    ("convention", "customs", "noisy"),
    [
        ("ddim", {}, False),
        ("ddim", {"set_alpha_to_one": False}, True),
        ("ddim", {"final_sigmas_type": "sigma_min"}, False),
        ("dpmpp", {}, False),
        ("dpmpp", {"set_alpha_to_one": False}, False),
        ("dpmpp", {"final_sigmas_type": "sigma_min"}, True),
        ("tcd", {}, True),
        *[(name, {"set_alpha_to_one": False}, False) for name in ("ddpm", "lcm", "euler", "kdpm2")],
        *[(name, {"final_sigmas_type": "sigma_min"}, False) for name in ("ddpm", "lcm", "euler", "kdpm2")],
    ],
)
def test_the_last_node_is_clean_unless_the_checkpoint_says_otherwise(convention, customs, noisy):
    grid = make_grid(Schedule(STABLE_DIFFUSION, **customs), 10, "trailing", convention)
    last = (np.sqrt(STABLE_DIFFUSION[0]), np.sqrt(1 - STABLE_DIFFUSION[0])) if noisy else (1, 0)
    assert (grid.alpha[-1], grid.sigma[-1]) == last


@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta", "normal"])
def test_a_grid_that_visits_the_cleanest_trained_level_ends_clean(spacing):
    grid = make_grid(Schedule(STABLE_DIFFUSION, final_sigmas_type="sigma_min"), 10, spacing, "dpmpp")
    plain = make_grid(Schedule(STABLE_DIFFUSION), 10, spacing, "dpmpp")
    np.testing.assert_array_equal(grid.sigma, plain.sigma)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_a_repeated_level_is_refused_by_name(spacing):
    schedule = Schedule(np.cumprod(1 - np.append(0.1, np.full(999, 1e-13))))
    with pytest.raises(
        ValueError, match=f"timestep_spacing is '{spacing}', which repeats a noise level.*: use"
    ) as error:
        make_grid(schedule, 10, spacing, "dpmpp")
    assert "\n" not in str(error.value)


def test_a_last_step_of_ddim_may_lead_from_a_level_to_itself():
    grid = make_grid(Schedule(STABLE_DIFFUSION, set_alpha_to_one=False), 10, "linspace", "ddim")
    assert grid.alpha[-1] == grid.alpha[-2]


@settings(max_examples=600, deadline=None)
@given(
    total=st.sampled_from([1, 2, 3, 50, 999, 1000]),
    share=st.floats(0, 1),
    spacing=st.sampled_from([*SPACINGS]),
    convention=st.sampled_from([*CONVENTIONS]),
    offset=st.sampled_from([0, 1, 3, 5000]),
    zero_snr=st.booleans(),
)
def test_every_grid_falls_within_the_training_timesteps(total, share, spacing, convention, offset, zero_snr):
    steps = max(1, round(share * total))
    zero_snr = zero_snr and total > 1
    alpha_bar = alpha_bar_from_betas(total, 0.00085, 0.012, "scaled_linear", zero_snr)
    schedule = Schedule(alpha_bar, "v_prediction", offset)
    ays_above = spacing == "ays" and schedule.trained_sigma_karras[-1] < 14.6
    if ays_above or (spacing == "trailing" and convention in ("lcm", "tcd") and steps > 50):
        with pytest.raises(ValueError, match=": use "):
            make_grid(schedule, steps, spacing, convention)
        return

    grid = make_grid(schedule, steps, spacing, convention)
    assert grid.timesteps.shape == (steps,)
    assert grid.timesteps.dtype == np.float32
    assert grid.timesteps.min() >= 0
    assert grid.timesteps.max() <= total - 1
    if convention not in ("euler", "kdpm2") and spacing not in ("normal", "sgm_uniform", "ays"):
        assert np.array_equal(grid.timesteps, grid.timesteps.round())
    # Spaced levels may lie closer than timesteps, so rounding or the schedule's end may repeat a timestep, no level.
    spaced = spacing in ("karras", "exponential", "beta", "ays")
    assert np.all(np.diff(grid.timesteps) < (1 if spaced else 0))
    for nodes in (grid.alpha, grid.sigma):
        assert nodes.shape == (steps + 1,)
        assert np.isfinite(nodes).all()
    np.testing.assert_allclose(grid.alpha**2 + grid.sigma**2, 1, rtol=1e-14)
    falling = np.diff(grid.sigma_karras[: -1 if convention == "tcd" else None])
    assert np.all(falling < 0)
    assert 0 < grid.start_noise <= 1
    if convention != "tcd":
        assert (grid.alpha[-1], grid.sigma[-1]) == (1, 0)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_zero_terminal_snr_starts_at_pure_noise_or_close_to_it(spacing, convention):
    grid = make_grid(Schedule(ZERO_SNR, "v_prediction"), 10, spacing, convention)
    if spacing in ("leading", "ays"):  # which start below the top, as ever
        assert 0 < grid.alpha[0] < 0.5
    elif spacing in ("trailing", "linspace", "simple") and convention not in ("euler", "kdpm2"):
        assert grid.alpha[0] == 0
    else:
        assert grid.sigma_karras[0] == pytest.approx(4096, rel=1e-6)
    assert np.isfinite(grid.sigma_karras[1:]).all()


@pytest.mark.parametrize(
    ("steps", "spacing", "message"),
    [
        (10, "cosine", "timestep_spacing is 'cosine': use one of leading, trailing, linspace, karras, exponential"),
        (0, "karras", "num_inference_steps is 0, .* 1000 timesteps: use 1 to 1000"),
        (1001, "karras", "num_inference_steps is 1001, .* 1000 timesteps: use 1 to 1000"),
    ],
)
def test_a_grid_that_cannot_be_laid_is_refused(steps, spacing, message):
    for schedule in (Schedule(STABLE_DIFFUSION), FlowSchedule()):
        with pytest.raises(ValueError, match=message):
            make_grid(schedule, steps, spacing, "euler")
