"""Step tables: identities between samplers, orders of convergence, limits, and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import DEFAULT_SPACING, SAMPLERS, SPACINGS, Schedule, alpha_bar_from_betas, step_table

ALPHA_BAR = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear")
ZERO_SNR = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=True)
SCHEDULE = Schedule(ALPHA_BAR, steps_offset=1)
V_SCHEDULE = Schedule(ALPHA_BAR, "v_prediction", steps_offset=1)
V_ZERO_SNR = Schedule(ZERO_SNR, "v_prediction", steps_offset=1)
SHARED_GRIDS = ("trailing", "karras")  # where DDIM's family and DPM++'s have the same nodes


def nodes(table):
    """alpha and sigma (N + 1,) of a v-prediction table, which is told them as its weights of denoised."""
    return np.append(table.x_weight, 1.0), np.append(-table.output_weight, 0.0)


@settings(max_examples=400, deadline=None)
@given(
    schedule=st.sampled_from([V_SCHEDULE, V_ZERO_SNR]),
    sampler=st.sampled_from(list(SAMPLERS)),
    steps=st.integers(1, 1000),
    spacing=st.sampled_from(SPACINGS),
    eta=st.floats(0, 1),
)
def test_every_step_leads_from_its_noise_level_to_the_next(schedule, sampler, steps, spacing, eta):
    """If x = alpha*x0 + sigma*z and the denoiser knows x0, then x' = alpha'*x0 + sigma'*z', whatever the sampler."""
    table = step_table(schedule, sampler, steps, spacing, eta if sampler == "ddim" else 0.0)
    alpha, sigma = nodes(table)
    for column in (table.x_weight, table.output_weight, table.a, table.b, table.c, table.n):
        assert column.shape == (steps,)
        assert column.dtype == np.float64
        assert np.isfinite(column).all()
    np.testing.assert_allclose(table.a * alpha[:-1] + table.b + table.c, alpha[1:], rtol=0, atol=1e-12)
    np.testing.assert_allclose((table.a * sigma[:-1]) ** 2 + table.n**2, sigma[1:] ** 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_last_step_is_the_denoised_image(sampler, steps):
    table = step_table(SCHEDULE, sampler, steps)
    np.testing.assert_allclose([table.a[-1], table.b[-1], table.c[-1], table.n[-1]], [0, 1, 0, 0], atol=1e-15)


@pytest.mark.parametrize("steps", [1, 2, 20, 1000])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddpm_is_ddim_with_eta_one(spacing, steps):
    ddpm, ddim = step_table(SCHEDULE, "ddpm", steps, spacing), step_table(SCHEDULE, "ddim", steps, spacing, eta=1.0)
    for name in ("timesteps", "a", "b", "c", "n"):
        np.testing.assert_allclose(getattr(ddpm, name), getattr(ddim, name), rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("steps", [1, 2, 20])
@pytest.mark.parametrize("spacing", SHARED_GRIDS)
@pytest.mark.parametrize(("solver", "eta"), [("dpmpp_2m", 0.0), ("dpmpp_2m_sde", 1.0)])
def test_dpmpp_with_its_history_folded_in_is_ddim(solver, eta, spacing, steps):
    """A second-order step whose denoised has not changed is its first-order step, and that is DDIM's."""
    second, first = step_table(SCHEDULE, solver, steps, spacing), step_table(SCHEDULE, "ddim", steps, spacing, eta)
    np.testing.assert_array_equal(second.timesteps, first.timesteps)
    np.testing.assert_allclose(second.a, first.a, rtol=0, atol=1e-12)
    np.testing.assert_allclose(second.b + second.c, first.b, rtol=0, atol=1e-12)
    np.testing.assert_allclose(second.n, first.n, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_dpmpp_is_first_order_in_its_first_and_last_step_and_after_zero_terminal_snr(sampler):
    assert np.flatnonzero(step_table(V_SCHEDULE, sampler, 10, "trailing").c == 0).tolist() == [0, 9]
    assert np.flatnonzero(step_table(V_ZERO_SNR, sampler, 10, "trailing").c == 0).tolist() == [0, 1, 9]


def test_epsilon_and_v_prediction_give_the_same_denoised():
    rng = np.random.default_rng(0)
    x0, z = rng.standard_normal((2, 5))
    epsilon_table, v_table = (step_table(schedule, "dpmpp_2m", 20) for schedule in (SCHEDULE, V_SCHEDULE))
    alpha, sigma = nodes(v_table)
    for i in range(20):
        x, v = alpha[i] * x0 + sigma[i] * z, alpha[i] * z - sigma[i] * x0
        for table, model_output in ((epsilon_table, z), (v_table, v)):
            denoised = table.x_weight[i] * x + table.output_weight[i] * model_output
            np.testing.assert_allclose(denoised, x0, rtol=0, atol=1e-12)


def error_before_the_last_step(sampler, steps, mean=0.4, std=0.5):
    """The solver's error at the cleanest trained level on data N(mean, std^2), whose ODE has a closed solution.

    There the score is exact and x = alpha*mean + sqrt(alpha^2 std^2 + sigma^2) * u for one u along the whole path.
    """
    table = step_table(V_SCHEDULE, sampler, steps, "karras")
    alpha, sigma = nodes(table)
    spread = np.sqrt(alpha**2 * std**2 + sigma**2)
    x, old_denoised = alpha[0] * mean + spread[0], 0.0  # u = 1
    for i in range(steps - 1):
        denoised = mean + alpha[i] * std**2 / spread[i] ** 2 * (x - alpha[i] * mean)
        x = table.a[i] * x + table.b[i] * denoised + table.c[i] * old_denoised
        old_denoised = denoised
    return abs(x - (alpha[-2] * mean + spread[-2]))


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1.0), ("dpmpp_2m", 2.0)])
def test_order_of_convergence(sampler, order):
    steps = np.array([80, 160, 320, 640])
    errors = [error_before_the_last_step(sampler, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_default_spacing_is_the_samplers_own(sampler):
    default, named = step_table(SCHEDULE, sampler, 20), step_table(SCHEDULE, sampler, 20, DEFAULT_SPACING[sampler])
    np.testing.assert_array_equal(default.coefficients, named.coefficients)


def test_coefficients_are_the_columns_in_float32():
    table = step_table(SCHEDULE, "dpmpp_2m_sde", 20)
    assert table.coefficients.dtype == np.float32
    assert table.coefficients.shape == (len(table), 6)
    columns = [table.x_weight, table.output_weight, table.a, table.b, table.c, table.n]
    np.testing.assert_allclose(table.coefficients.T, columns, rtol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "euler"}, "sampler is 'euler': use one of ddpm, ddim, dpmpp_2m, dpmpp_2m_sde"),
        ({"timestep_spacing": "cosine"}, "timestep_spacing is 'cosine': use one of leading, trailing"),
        ({"timestep_spacing": ""}, "timestep_spacing is '': use one of"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0, .* 1000 timesteps: use 1 to 1000"),
        ({"num_inference_steps": 1001}, "num_inference_steps is 1001, .* 1000 timesteps: use 1 to 1000"),
        ({"eta": 1.5}, r"eta is 1.5: use 0 \(deterministic\) to 1"),
        ({"eta": float("nan")}, "eta is nan: use 0"),
        ({"sampler": "ddpm", "eta": 0.5}, "sampler 'ddpm' has no eta: leave it at 0, or use sampler 'ddim'"),
    ],
)
def test_a_request_that_no_sampler_can_serve_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        step_table(**{"schedule": SCHEDULE, "sampler": "ddim", "num_inference_steps": 20, **arguments})
    assert "\n" not in str(error.value)
