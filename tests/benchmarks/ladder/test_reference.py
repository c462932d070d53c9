"""The fine ODE solution, on data whose ODE has a closed solution."""

import numpy as np
import pytest
from sampling import Schedule, StepTable, alpha_bar_from_betas, step_table

from benchmarks.ladder.reference import fine_table

SCHEDULE = Schedule(alpha_bar_from_betas(1000, 0.0001, 0.02, "linear"), "v_prediction")


def levels(table: StepTable) -> tuple[np.ndarray, np.ndarray]:
    """alpha and sigma (N,) of a v-prediction table, which is told them as its weights of denoised."""
    return table.x_weight, -table.output_weight


def error_at_the_cleanest_level(table: StepTable, mean: float = 0.4, std: float = 0.5) -> float:
    """On data N(mean, std^2), where x = alpha*mean + sqrt(alpha^2 std^2 + sigma^2) * u for one u along the path."""
    alpha, sigma = levels(table)
    spread = np.sqrt(alpha**2 * std**2 + sigma**2)
    x, old_denoised = alpha[0] * mean + spread[0], 0.0  # u = 1
    for i in range(len(table) - 1):
        denoised = mean + alpha[i] * std**2 / spread[i] ** 2 * (x - alpha[i] * mean)
        x = table.a[i] * x + table.b[i] * denoised + table.c[i, 0] * old_denoised
        old_denoised = denoised
    return abs(x - (alpha[-1] * mean + spread[-1]))


def test_levels_are_uniform_in_lambda_between_the_trained_ends():
    alpha, sigma = levels(fine_table(SCHEDULE, 500))
    lambda_ = np.log(alpha / sigma)
    np.testing.assert_allclose(np.diff(lambda_), (lambda_[-1] - lambda_[0]) / 499, rtol=1e-9)
    np.testing.assert_allclose(alpha[[0, -1]] ** 2, SCHEDULE.alpha_bar[[-1, 0]], rtol=1e-9)


def test_the_denoiser_is_told_each_levels_own_timestep():
    table = fine_table(SCHEDULE, 500)
    assert np.all(np.diff(table.timesteps) < 0)
    alpha, sigma = levels(table)
    trained = np.log(SCHEDULE.alpha_bar / (1 - SCHEDULE.alpha_bar)) / 2
    expected = np.interp(table.timesteps, np.arange(1000), trained)
    np.testing.assert_allclose(np.log(alpha / sigma), expected, atol=1e-4)


def test_it_is_far_finer_than_what_it_judges():
    fine = error_at_the_cleanest_level(fine_table(SCHEDULE, 500))
    judged = [error_at_the_cleanest_level(step_table(SCHEDULE, *s)) for s in (("dpmpp_2m", 20), ("ddim", 50, "karras"))]
    assert fine < 0.01 * min(judged)
    finer = error_at_the_cleanest_level(fine_table(SCHEDULE, 1000))
    assert finer == pytest.approx(fine / 4, rel=0.2)  # second order
