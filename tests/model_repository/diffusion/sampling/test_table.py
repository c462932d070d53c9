"""Step tables: identities between samplers, limits, memory, options, and refusals."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import COLUMNS, SAMPLERS, SPACINGS, Schedule, alpha_bar_from_betas, step_table

from tests.support.step_tables import latents

ALPHA_BAR = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear")
ZERO_SNR = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=True)
SCHEDULE = Schedule(ALPHA_BAR, steps_offset=1)
V_SCHEDULE = Schedule(ALPHA_BAR, "v_prediction", steps_offset=1)
V_ZERO_SNR = Schedule(ZERO_SNR, "v_prediction", steps_offset=1)
SHARED_GRIDS = ("trailing", "karras")  # where DDIM's family and DPM++'s have the same nodes


KEEP_THEIR_FORM = ("lms", "pndm", "lcm", "tcd")  # in the last step, which does not give denoised alone


def levels(table):
    """alpha and sigma (R,) of a v-prediction table, which is told them as its weights of denoised."""
    return table.x_weight, -table.output_weight


def assert_sound(table, steps):
    """All numbers finite, of the right shape and kind; no row reads what none before it remembered."""
    rows = len(table)
    assert rows in (steps, steps + 1, 2 * steps - 1, 2 * steps - 2)
    for name, column in ((field.name, getattr(table, field.name)) for field in fields(table)):
        assert np.isfinite(column).all(), name
        if name == "timesteps":
            assert (column.shape, column.dtype) == ((rows,), np.float32)
        elif name == "ends_step":
            assert (column.shape, column.dtype) == ((rows,), np.bool_)
        elif not name.startswith("start"):
            assert (column.shape, column.dtype) == ((rows, 3) if name == "c" else (rows,), np.float64), name
    assert ((table.noise_correlation >= 0) & (table.noise_correlation < 1)).all()
    assert not table.c[0].any()
    assert np.isfinite(table.coefficients).all()
    assert (len(table.steps_done), table.steps_done[-1], table.ends_step[-1]) == (rows + 1, steps, True)
    remembered = np.cumsum((table.p != 0) | (table.q != 0))
    for row in range(1, rows):
        assert not table.c[row, remembered[row - 1] :].any()


@settings(max_examples=400, deadline=None)
@given(
    zero_snr=st.booleans(),
    sampler=st.sampled_from([name for name in SAMPLERS if name != "lcm"]),
    steps=st.integers(1, 1000),
    spacing=st.sampled_from(list(SPACINGS)),
    eta=st.floats(0, 1),
)
def test_every_row_leads_from_its_noise_level_to_the_next(zero_snr, sampler, steps, spacing, eta):
    """If x = alpha*x0 + sigma*z and the denoiser knows x0, then x' = alpha'*x0 + sigma'*z', whatever the sampler.

    A latent is here its weights of x0, of the first noise, and of those that the rows draw.
    """
    schedule = V_ZERO_SNR if zero_snr else V_SCHEDULE
    options = {"eta": eta} if "eta" in SAMPLERS[sampler].options else {}
    if (sampler, spacing) == ("tcd", "trailing"):
        steps = min(steps, 50)
    table = step_table(schedule, sampler, steps, spacing, **options)
    assert_sound(table, steps)
    end = np.sqrt(schedule.alpha_bar[0]) if sampler == "tcd" else 1.0
    alpha, sigma = (np.append(level, last) for level, last in zip(levels(table), (end, np.sqrt(1 - end**2))))
    draws = np.eye(len(table) + 2)
    start = alpha[0] * draws[0] + sigma[0] * draws[1]
    found = np.array([[x[0], np.linalg.norm(x[1:])] for x in latents(table, lambda i, x: draws[0], start, draws[2:])])
    largest = max(np.abs(column).max() for column in (table.a, table.b, table.c))
    assert np.abs(found - np.stack([alpha[1:], sigma[1:]], axis=1)).max() < 1e-12 * max(1, largest / 10)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in KEEP_THEIR_FORM])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_last_step_is_the_denoised_image(sampler, steps):
    table = step_table(SCHEDULE, sampler, steps)
    np.testing.assert_allclose([table.a[-1], table.b[-1], *table.c[-1], table.n[-1]], [0, 1, 0, 0, 0, 0], atol=1e-15)


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
    second, first = step_table(SCHEDULE, solver, steps, spacing), step_table(SCHEDULE, "ddim", steps, spacing, eta=eta)
    np.testing.assert_array_equal(second.timesteps, first.timesteps)
    np.testing.assert_allclose(second.a, first.a, rtol=0, atol=1e-12)
    np.testing.assert_allclose(second.b + second.c.sum(axis=1), first.b, rtol=0, atol=1e-12)
    np.testing.assert_allclose(second.n, first.n, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "dpmpp_2m_sde"])
def test_dpmpp_is_first_order_in_its_first_and_last_step_and_after_zero_terminal_snr(sampler):
    assert np.flatnonzero(step_table(V_SCHEDULE, sampler, 10, "trailing").c[:, 0] == 0).tolist() == [0, 9]
    assert np.flatnonzero(step_table(V_ZERO_SNR, sampler, 10, "trailing").c[:, 0] == 0).tolist() == [0, 1, 9]


def test_epsilon_and_v_prediction_give_the_same_denoised():
    rng = np.random.default_rng(0)
    x0, z = rng.standard_normal((2, 5))
    epsilon_table, v_table = (step_table(schedule, "dpmpp_2m", 20) for schedule in (SCHEDULE, V_SCHEDULE))
    alpha, sigma = levels(v_table)
    for i in range(20):
        x, v = alpha[i] * x0 + sigma[i] * z, alpha[i] * z - sigma[i] * x0
        for table, model_output in ((epsilon_table, z), (v_table, v)):
            denoised = table.x_weight[i] * x + table.output_weight[i] * model_output
            np.testing.assert_allclose(denoised, x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_default_spacing_is_the_samplers_own(sampler):
    default, named = (
        step_table(SCHEDULE, sampler, 20),
        step_table(SCHEDULE, sampler, 20, SAMPLERS[sampler].timestep_spacing),
    )
    np.testing.assert_array_equal(default.coefficients, named.coefficients)


def test_coefficients_are_the_columns_in_float32():
    table = step_table(SCHEDULE, "dpmpp_2m_sde", 20)
    assert table.coefficients.dtype == np.float32
    assert table.coefficients.shape == (len(table), len(COLUMNS))
    for name, column in zip(COLUMNS, table.coefficients.T):
        expected = table.c[:, int(name[1]) - 1] if name.startswith("c") else getattr(table, name)
        np.testing.assert_allclose(column, expected, rtol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    ("sampler", "memory"),
    [
        *(dict.fromkeys(("ddpm", "ddim", "euler", "euler_ancestral", "lcm", "tcd"), 0).items()),
        *(dict.fromkeys(("dpmpp_2m", "dpmpp_2m_sde", "deis", "heun", "dpm_2", "dpm_2_ancestral"), 1).items()),
        *(dict.fromkeys(("dpmpp_2s_ancestral", "dpmpp_sde"), 1).items()),
        *(dict.fromkeys(("dpmpp_3m_sde", "unipc"), 2).items()),
        *(dict.fromkeys(("lms", "pndm"), 3).items()),
    ],
)
def test_a_table_asks_for_as_much_memory_as_its_rows_read(sampler, memory):
    table = step_table(SCHEDULE, sampler, 10)
    assert table.memory == memory
    assert step_table(SCHEDULE, sampler, 1).memory == 0
    remembers = (table.p != 0) | (table.q != 0)
    assert not remembers[-1]
    assert remembers.any() == (memory > 0)


def test_only_the_repeated_row_of_pndm_must_keep_what_was_remembered():
    assert np.flatnonzero(step_table(SCHEDULE, "pndm", 10).keeps).tolist() == [1]
    for sampler in SAMPLERS:
        assert sampler == "pndm" or not step_table(SCHEDULE, sampler, 10).keeps.any()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_latent_starts_from_noise_alone(sampler):
    """The samplers of k-diffusion start at sigma, as diffusers' do where `timestep_spacing` is not leading."""
    for spacing in ("leading", "karras"):
        table = step_table(V_SCHEDULE, sampler, 10, spacing)
        scaled = SAMPLERS[sampler].convention in ("euler", "kdpm2") and spacing != "leading"
        assert table.start_init == 0
        assert table.start_noise == (levels(table)[1][0] if scaled else 1)


@pytest.mark.parametrize(("sampler", "options"), [(name, row.options) for name, row in SAMPLERS.items()])
def test_options_left_open_are_the_samplers_own(sampler, options):
    default = step_table(SCHEDULE, sampler, 8)
    for same in (step_table(SCHEDULE, sampler, 8, eta=None), step_table(SCHEDULE, sampler, 8, **options)):
        np.testing.assert_array_equal(default.coefficients, same.coefficients)
    if "eta" in options:
        assert options["eta"] == (0 if sampler == "ddim" else 1)
        assert not step_table(SCHEDULE, sampler, 8, eta=0.0).n.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "exact"}, "sampler is 'exact': use one of ddpm, ddim, euler, euler_ancestral"),
        ({"timestep_spacing": "cosine"}, "timestep_spacing is 'cosine': use one of leading, trailing"),
        ({"timestep_spacing": ""}, "timestep_spacing is '': use one of"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0, .* 1000 timesteps: use 1 to 1000"),
        ({"num_inference_steps": 1001}, "num_inference_steps is 1001, .* 1000 timesteps: use 1 to 1000"),
        ({"eta": 1.5}, r"eta is 1.5: use 0 \(deterministic\) to 1"),
        ({"eta": float("nan")}, "eta is nan: use 0"),
        ({"sampler": "ddpm", "eta": 0.5}, "sampler 'ddpm' has no eta: leave it out, or use sampler 'ddim'"),
        ({"sampler": "tcd", "eta": 0.0}, "eta is 0.0, but sampler 'tcd' has no eta: leave it out, or use"),
        ({"gamma": 0.5}, "gamma is 0.5, but no sampler has an option of this name: leave it out"),
    ],
)
def test_a_request_that_no_sampler_can_serve_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        step_table(**{"schedule": SCHEDULE, "sampler": "ddim", "num_inference_steps": 20, **arguments})
    assert "\n" not in str(error.value)
