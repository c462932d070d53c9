"""The update of a ragged batch, with the arrays of every library: each function is its formula, row by row."""

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from sampling import advance, denoise, guide, remember

SHAPE = (4, 8, 8)


def normal(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, *SHAPE)).astype(np.float32)


def weights(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None, None, None]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_guide_is_the_formula_row_by_row(arrays):
    cond, uncond, scale = normal(0, 3), normal(1, 3), weights(1.5, 7.5, 20)
    expected = uncond + scale.astype(np.float64) * (cond.astype(np.float64) - uncond)
    close(arrays.get(guide(*map(arrays.put, (cond, uncond, scale)), {})), expected)


def test_rescaled_guidance_is_that_of_diffusers_in_the_rows_that_ask_for_it(arrays):
    cond, uncond = normal(0, 3), normal(1, 3)
    strengths = {0: 0.7, 2: 1.0}
    found = arrays.get(guide(*map(arrays.put, (cond, uncond, weights(7.5, 7.5, 7.5))), strengths))
    plain = torch.from_numpy(uncond + np.float32(7.5) * (cond - uncond))
    for row in range(3):
        one = slice(row, row + 1)
        strength = strengths.get(row, 0.0)
        expected = rescale_noise_cfg(plain[one], torch.from_numpy(cond[one]), guidance_rescale=strength)
        close(found[one], expected.numpy())


def test_rescaled_guidance_leaves_a_constant_as_it_is(arrays):
    cond = np.ones((1, *SHAPE), np.float32)
    guided = guide(*map(arrays.put, (cond, cond.copy(), weights(5))), {0: 1.0})
    np.testing.assert_array_equal(arrays.get(guided), 1)


def test_denoise_and_remember_are_their_formulas(arrays):
    latent, model_output = normal(0, 2), normal(1, 2)
    denoised = denoise(*map(arrays.put, (latent, model_output, weights(2, 0.5), weights(-1, 3))))
    expected = np.stack([2 * latent[0] - model_output[0], 0.5 * latent[1] + 3 * model_output[1]])
    close(arrays.get(denoised), expected)
    remembered = remember(arrays.put(latent), denoised, *map(arrays.put, (weights(1, 0.5), weights(0, -2))))
    close(arrays.get(remembered), np.stack([latent[0], 0.5 * latent[1] - 2 * expected[1]]))


def test_advance_is_the_sum_of_its_terms(arrays):
    latent, values = normal(0, 2), [normal(seed, 2) for seed in range(1, 6)]
    a, factors = weights(0.9, 0.5), [weights(*pair) for pair in [(1, 0), (0, -2), (0.25, 0.5), (0.1, 2), (0, 0.3)]]
    expected = a * latent + sum(factor * value for factor, value in zip(factors, values))
    on_device = arrays.put(latent)
    advance(
        on_device, arrays.put(a), [(arrays.put(factor), arrays.put(value)) for factor, value in zip(factors, values)]
    )
    close(arrays.get(on_device), expected)
