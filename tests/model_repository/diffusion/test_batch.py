"""A batch against its tables, with the arrays of every library: every row is the formula in float64, whatever its
neighbours remember, join or leave."""

import numpy as np
import pytest
from batch import Batch, Generation
from networks.arrays import HOST, Arrays
from request import Request
from sampling import SAMPLERS, NoiseStream, Schedule, StepTable, read_schedule, step_table

from tests.support.arrays import on_device

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


def generation(table: StepTable, seed: int, arrays: Arrays = HOST, guidance_scale: float = 1.0) -> Generation:
    request = Request(
        prompt="",
        negative_prompt="",
        num_images=1,
        height=8,
        width=8,
        guidance_scale=guidance_scale,
        seed=seed,
        preview_interval=0,
        table=table,
    )
    context = np.zeros((2 if request.guided else 1, 2, 2), np.float32)
    return Generation(request, SHAPE, {"context": arrays.put(context)}, arrays)


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


def complete(generations: list[Generation], arrays: Arrays) -> list[np.ndarray]:
    """The last latent of each, all begun together."""
    active = generations
    while active:
        batch = Batch(active)
        while not any(one.done for one in batch.generations):
            batch.advance(on_device(denoiser, arrays))
        batch.store()
        active = [one for one in active if not one.done]
    return [arrays.get(one.latent)[0] for one in generations]


def test_all_samplers_in_one_batch_are_their_tables(schedule, arrays):
    generations = [generation(step_table(schedule, name, 4 + k % 7), k, arrays) for k, name in enumerate(SAMPLERS)]
    for name, one, latent in zip(SAMPLERS, generations, complete(generations, arrays)):
        expected = alone_in_float64(one.request.table, one.request.seed)
        np.testing.assert_allclose(latent, expected, rtol=1e-5, atol=3e-6 * np.abs(expected).max(), err_msg=name)


def test_with_other_arrays_the_latents_are_those_of_numpy_bit_for_bit(schedule, arrays):
    found, expected = (
        complete(
            [
                generation(step_table(schedule, name, 4 + k % 7), k, library, guidance_scale=1.0 + k % 3)
                for k, name in enumerate(SAMPLERS)
            ],
            library,
        )
        for library in (arrays, HOST)
    )
    np.testing.assert_array_equal(found, expected)


def test_a_new_batch_leaves_the_state_of_its_generations_alone(schedule, arrays):
    one = generation(step_table(schedule, "dpmpp_2m", 5), 3, arrays)
    before = arrays.get(one.latent).copy()
    batch = Batch([one])
    batch.advance(on_device(denoiser, arrays))
    np.testing.assert_array_equal(arrays.get(one.latent), before)
    batch.store()
    assert not np.array_equal(arrays.get(one.latent), before)
