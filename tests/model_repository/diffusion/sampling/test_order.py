"""Orders of convergence, on data N(mean, std^2), whose ODE has a closed solution."""

import numpy as np
import pytest
from sampling import Schedule, alpha_bar_from_betas, step_table

from tests.support.step_tables import latents

SCHEDULE = Schedule(alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear"), "v_prediction", steps_offset=1)
MEAN, STD = 0.4, 0.5


def error_before_the_last_step(sampler, steps, spacing, **options):
    """The solver's error at the cleanest trained level.

    There the score is exact and x = alpha*mean + sqrt(alpha^2 std^2 + sigma^2) * u for one u along the whole path.
    """
    table = step_table(SCHEDULE, sampler, steps, spacing, **options)
    alpha, sigma = table.x_weight, -table.output_weight
    spread = np.sqrt(alpha**2 * STD**2 + sigma**2)

    def denoise(i, x):
        return MEAN + alpha[i] * STD**2 / spread[i] ** 2 * (x - alpha[i] * MEAN)

    start = np.array(alpha[0] * MEAN + spread[0])  # u = 1
    *_, x, _ = latents(table, denoise, start)
    return abs(x - (alpha[-1] * MEAN + spread[-1]))


def measured_order(sampler, spacing, steps=(80, 160, 320, 640), **options):
    errors = [error_before_the_last_step(sampler, n, spacing, **options) for n in steps]
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1.0), ("dpmpp_2m", 2.0)])
def test_order_of_convergence_with_karras_spacing(sampler, order):
    assert measured_order(sampler, "karras") == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(
    ("sampler", "order", "options"),
    [
        ("ddim", 1.0, {}),
        ("euler", 1.0, {}),
        ("euler_ancestral", 1.0, {"eta": 0.0}),
        ("heun", 2.0, {}),
        ("dpm_2", 2.0, {}),
        ("dpm_2_ancestral", 2.0, {"eta": 0.0}),
        ("dpmpp_2s_ancestral", 2.0, {"eta": 0.0}),
        ("dpmpp_sde", 2.0, {"eta": 0.0}),
        ("dpmpp_2m", 2.0, {}),
        ("dpmpp_3m_sde", 2.0, {"eta": 0.0}),  # of a third-order method its published weights make a second-order one
        ("deis", 2.0, {}),
        ("pndm", 2.0, {}),  # its weights assume equal steps
        ("unipc", 3.0, {}),
    ],
)
def test_order_of_convergence_with_steps_even_in_lambda(sampler, order, options):
    assert measured_order(sampler, "exponential", (80, 160, 320), **options) == pytest.approx(order, abs=0.1)


def test_lms_converges_faster_than_third_order():
    """Of order 4 but for its first steps, which are of order 1, 2 and 3."""
    assert 3 < measured_order("lms", "exponential", (80, 160, 320)) < 4
