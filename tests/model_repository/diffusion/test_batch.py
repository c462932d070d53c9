"""A batch against its tables: every row is the formula in float64, whatever its neighbours remember, join or leave."""

import numpy as np
import pytest
from batch import Batch, Generation
from request import Request
from sampling import SAMPLERS, NoiseStream, Schedule, StepTable, read_schedule, step_table

SHAPE = (4, 8, 8)


@pytest.fixture(scope="module")
def schedule() -> Schedule:
    return read_schedule(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        steps_offset=1,
    )


def model_output(sample: np.ndarray, timestep: np.ndarray | float) -> np.ndarray:
    return np.tanh(sample * (0.5 + timestep / 1000))


def denoiser(sample: np.ndarray, timestep: np.ndarray, context: np.ndarray) -> dict[str, np.ndarray]:
    return {"model_output": model_output(sample, timestep[:, None, None, None]).astype(np.float32)}


def generation(table: StepTable, seed: int) -> Generation:
    request = Request(
        prompt="",
        negative_prompt="",
        num_images=1,
        height=8,
        width=8,
        guidance_scale=1.0,
        seed=seed,
        preview_interval=0,
        table=table,
    )
    return Generation(request, SHAPE, {"context": np.zeros((1, 2, 2), np.float32)})


def alone_in_float64(table: StepTable, seed: int) -> np.ndarray:
    """The latent after the last row of `table`, by the formulas and nothing else."""
    stream = NoiseStream(seed)
    noise = stream.normal(SHAPE).astype(np.float64)
    x, memory = table.start_noise * noise, []
    for i in range(len(table)):
        denoised = table.x_weight[i] * x + table.output_weight[i] * model_output(x, table.timesteps[i])
        x_next = table.a[i] * x + table.b[i] * denoised + sum(c * h for c, h in zip(table.c[i], memory))
        if table.n[i]:
            correlation = table.noise_correlation[i]
            noise = correlation * noise + np.sqrt(1 - correlation**2) * stream.normal(SHAPE)
            x_next = x_next + table.n[i] * noise
        if table.p[i] or table.q[i]:
            memory.insert(0, table.p[i] * x + table.q[i] * denoised)
        x = x_next
    return x


def test_all_samplers_in_one_batch_are_their_tables(schedule):
    generations = [generation(step_table(schedule, name, 4 + k % 7), k) for k, name in enumerate(SAMPLERS)]
    active = generations
    while active:
        batch = Batch(active)
        while not any(one.done for one in batch.generations):
            batch.advance(denoiser)
        batch.store()
        active = [one for one in active if not one.done]
    for name, one in zip(SAMPLERS, generations):
        expected = alone_in_float64(one.request.table, one.request.seed)
        np.testing.assert_allclose(one.latent[0], expected, rtol=1e-5, atol=3e-6 * np.abs(expected).max(), err_msg=name)


def test_a_new_batch_leaves_the_state_of_its_generations_alone(schedule):
    one = generation(step_table(schedule, "dpmpp_2m", 5), seed=3)
    before = one.latent.copy()
    batch = Batch([one])
    batch.advance(denoiser)
    np.testing.assert_array_equal(one.latent, before)
    batch.store()
    assert not np.array_equal(one.latent, before)
