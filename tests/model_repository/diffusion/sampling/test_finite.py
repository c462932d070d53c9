"""No request gives a number that is not finite, and what starts from pure noise does so by a step of DDIM."""

import numpy as np
import pytest
from sampling import SAMPLERS, SPACINGS, Grid, Schedule, alpha_bar_from_betas, dpmpp_2m_on, step_table

from tests.support.mixture import mixture_model
from tests.support.step_tables import run_table

STEPS = (1, 2, 3, 5, 8, 10, 20, 50, 999, 1000)
STABLE_DIFFUSION = (1000, 0.00085, 0.012, "scaled_linear")
ZERO_SNR = Schedule(alpha_bar_from_betas(*STABLE_DIFFUSION, rescale_betas_zero_snr=True), "v_prediction", 1)
SCHEDULES = {
    "scaled_linear": Schedule(alpha_bar_from_betas(*STABLE_DIFFUSION), steps_offset=1),
    "linear": Schedule(alpha_bar_from_betas(1000, 1e-4, 0.02, "linear")),
    "cosine": Schedule(alpha_bar_from_betas(1000, 1e-4, 0.02, "squaredcos_cap_v2"), set_alpha_to_one=False),
    "sigma_min": Schedule(alpha_bar_from_betas(*STABLE_DIFFUSION), final_sigmas_type="sigma_min"),
    "zero_snr": ZERO_SNR,
}
NOT_FROM_PURE_NOISE = [name for name, sampler in SAMPLERS.items() if not sampler.from_pure_noise]


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_table_is_finite_or_refused_in_one_line(sampler, schedule):
    for spacing in SPACINGS:
        for steps in STEPS:
            try:
                table = step_table(schedule, sampler, steps, spacing)
            except ValueError as error:
                refusal = str(error)
            else:
                assert np.isfinite(table.coefficients).all()
                assert np.isfinite(table.timesteps).all()
                assert np.isfinite(table.noise_correlation).all()
                continue
            assert "\n" not in refusal
            few = steps > 50 and sampler in ("lcm", "tcd") and spacing == "trailing"
            repeated = schedule.final_sigmas_type == "sigma_min" and SAMPLERS[sampler].convention == "dpmpp"
            assert few or repeated, f"{spacing}, {steps} steps: {refusal}"


@pytest.mark.parametrize("sampler", NOT_FROM_PURE_NOISE)
def test_the_first_step_from_zero_terminal_snr_is_that_of_ddim(sampler):
    for spacing in SPACINGS:
        for steps in (1, 2, 10):
            table = step_table(ZERO_SNR, sampler, steps, spacing)
            alpha, sigma = table.x_weight, -table.output_weight
            if alpha[0] > 1e-3:  # leading and ays start below it
                continue
            eta = SAMPLERS[sampler].options.get("eta", 0)
            alpha_next, sigma_next = (1, 0) if steps == 1 else (alpha[1], sigma[1])
            n = eta * sigma_next / sigma[0] * np.sqrt(1 - alpha[0] ** 2 / alpha_next**2)
            down = np.sqrt(sigma_next**2 - n**2)
            expected = [down / sigma[0], alpha_next - down * alpha[0] / sigma[0], n]
            np.testing.assert_allclose([table.a[0], table.b[0], table.n[0]], expected, rtol=0, atol=1e-12)
            assert (table.p[0], table.q[0]) == (0, 0)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in ("lcm", "tcd")])
def test_from_zero_terminal_snr_every_sampler_draws_from_the_data(sampler):
    """Of 4096 values, the mean and deviation are those of the mixture. LCM and TCD do so with distilled models only."""
    rng = np.random.default_rng(0)
    table = step_table(ZERO_SNR, sampler, 50, "trailing")
    noise = rng.standard_normal((2 * 50, 1, 4, 32, 32))
    drawn = run_table(table, mixture_model(ZERO_SNR), rng.standard_normal((1, 4, 32, 32)), noise)
    assert drawn.mean() == pytest.approx(-0.03, abs=0.1)
    assert drawn.std() == pytest.approx(np.sqrt(0.74 + 0.35**2), abs=0.1)


def test_dpmpp_2m_runs_on_any_nodes():
    made = step_table(ZERO_SNR, "dpmpp_2m", 7, "trailing")
    alpha, sigma = np.append(made.x_weight, 1.0), np.append(-made.output_weight, 0.0)
    table = dpmpp_2m_on(ZERO_SNR, Grid(made.timesteps, alpha, sigma))
    np.testing.assert_array_equal(table.coefficients, made.coefficients)
