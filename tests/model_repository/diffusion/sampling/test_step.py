"""The update of a ragged batch: right, and bit-equal whoever the neighbours are."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from sampling import NoiseStream, Schedule, StepTable, advance, alpha_bar_from_betas, guide, step_table

SCHEDULE = Schedule(alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear"), steps_offset=1)
SHAPE = (4, 8, 8)


def normal(seed, rows):
    return np.random.default_rng(seed).standard_normal((rows, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_sde"])
def test_advance_is_the_formula(sampler):
    table = step_table(SCHEDULE, sampler, 20)
    steps = [0, 3, 10, 19]
    latent, model_output, old_denoised, noise = (normal(seed, len(steps)) for seed in range(4))
    columns = (table.x_weight, table.output_weight, table.a, table.b, table.c, table.n)
    x_weight, output_weight, a, b, c, n = (column[steps, None, None, None] for column in columns)
    denoised = x_weight * latent + output_weight * model_output  # in float64, as the columns are
    expected = a * latent + b * denoised + c * old_denoised + n * noise

    read_only = model_output.copy()
    read_only.setflags(write=False)
    advance(latent, read_only, old_denoised, noise, table.coefficients[steps])
    np.testing.assert_allclose(old_denoised, denoised, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(latent, expected, rtol=1e-5, atol=1e-5)


def test_rows_that_need_no_history_and_no_noise_do_not_read_them():
    table = step_table(SCHEDULE, "dpmpp_2m_sde", 20)
    steps = [0, 5, 19]  # no history in the first, neither history nor noise in the last
    latent, model_output, old_denoised, noise = (normal(seed, 3) for seed in range(4))
    expected = latent.copy()
    advance(expected, model_output, old_denoised.copy(), noise.copy(), table.coefficients[steps])
    old_denoised[[0, 2]], noise[2] = np.nan, np.inf
    with np.errstate(all="raise"):
        advance(latent, model_output, old_denoised, noise, table.coefficients[steps])
    np.testing.assert_array_equal(latent, expected)


def test_noise_may_be_left_out_only_if_no_row_needs_it():
    deterministic, stochastic = (step_table(SCHEDULE, sampler, 20).coefficients[3] for sampler in ("ddim", "ddpm"))
    latent, model_output, old_denoised = (normal(seed, 2) for seed in range(3))
    advance(latent, model_output, old_denoised, None, np.stack([deterministic, deterministic]))
    with pytest.raises(ValueError, match=r"noise is None, but rows \[1\] need it"):
        advance(latent, model_output, old_denoised, None, np.stack([deterministic, stochastic]))


@pytest.mark.parametrize("in_place", [False, True])
def test_guide_is_the_formula_row_by_row(in_place):
    cond, uncond = normal(0, 3), normal(1, 3)
    scale = np.array([1.5, 7.5, 20], np.float32)
    expected = uncond + scale[:, None, None, None].astype(np.float64) * (cond.astype(np.float64) - uncond)
    out = cond if in_place else np.empty_like(cond)
    guide(cond, uncond, scale, out)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@dataclass
class Request:
    """One request in a simulated server: joins at a step, runs through its table, leaves."""

    table: StepTable
    guidance_scale: float
    seed: int
    joins: int
    i: int = 0
    latent: np.ndarray = field(init=False)
    old_denoised: np.ndarray = field(init=False)

    def __post_init__(self):
        self.stream = NoiseStream(self.seed)
        self.latent = self.stream.normal(SHAPE)
        self.old_denoised = np.full(SHAPE, np.nan, np.float32)


def unet(latent, timesteps, prompt):
    """A stand-in of +, * and / only, whose rounding IEEE 754 fixes: what may differ by batch is the sampling alone."""
    timesteps = timesteps[:, None, None, None] / np.float32(1000)
    return (latent * timesteps + np.float32(prompt)) / (np.float32(1) + latent * latent)


def serve(requests):
    """Advance all requests together, in another order each step, until every one has left."""
    order = np.random.default_rng(5)
    pending, now, largest = list(requests), 0, 0
    while pending:
        active = [pending[k] for k in order.permutation(len(pending)) if pending[k].joins <= now]
        largest = max(largest, len(active))
        if active:
            step(active)
        pending = [request for request in pending if request.i < len(request.table)]
        now += 1
    return largest


def step(active):
    latent = np.stack([request.latent for request in active])
    old_denoised = np.stack([request.old_denoised for request in active])
    timesteps = np.array([request.table.timesteps[request.i] for request in active])
    coefficients = np.stack([request.table.coefficients[request.i] for request in active])
    noise = None
    if any(request.table.n[request.i] for request in active):
        noise = np.full_like(latent, np.nan)  # rows without need stay unset
        for row, request in enumerate(active):
            if request.table.n[request.i]:
                noise[row] = request.stream.normal(SHAPE)
    model_output = unet(latent, timesteps, 0.7)
    scale = np.array([request.guidance_scale for request in active], np.float32)
    guide(model_output, unet(latent, timesteps, -0.2), scale, out=model_output)
    advance(latent, model_output, old_denoised, noise, coefficients)
    for row, request in enumerate(active):
        request.latent, request.old_denoised, request.i = latent[row], old_denoised[row], request.i + 1


def mixed_requests():
    tables = [
        step_table(SCHEDULE, "dpmpp_2m", 20),
        step_table(SCHEDULE, "dpmpp_2m", 7, "leading"),
        step_table(SCHEDULE, "dpmpp_2m_sde", 12),
        step_table(SCHEDULE, "dpmpp_2m_sde", 25, "linspace"),
        step_table(SCHEDULE, "ddim", 30, eta=0.5),
        step_table(SCHEDULE, "ddim", 10),
        step_table(SCHEDULE, "ddpm", 40),
        step_table(SCHEDULE, "ddpm", 1),
        step_table(SCHEDULE, "ddim", 3, "karras", eta=1.0),
        step_table(SCHEDULE, "dpmpp_2m", 2, "trailing"),
    ]
    return [Request(table, 1.5 + k, seed=100 + k, joins=3 * k % 17) for k, table in enumerate(tables)]


def test_a_ragged_batch_is_bit_equal_to_each_request_alone():
    together, alone = mixed_requests(), mixed_requests()
    assert serve(together) > 4
    for request in alone:
        assert serve([request]) == 1
    for k, (one, other) in enumerate(zip(together, alone)):
        assert np.isfinite(one.latent).all()
        assert one.latent.tobytes() == other.latent.tobytes(), f"request {k}"
