"""The update of a ragged batch: each function is its formula, and reads no more than the rows need."""

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from sampling import advance, denoise, guide, remember

SHAPE = (4, 8, 8)
NONE = np.zeros(3, np.float32)


def normal(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, *SHAPE)).astype(np.float32)


def weights(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None, None, None]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("in_place", [False, True])
def test_guide_is_the_formula_row_by_row(in_place):
    cond, uncond = normal(0, 3), normal(1, 3)
    scale = np.array([1.5, 7.5, 20], np.float32)
    expected = uncond + scale[:, None, None, None].astype(np.float64) * (cond.astype(np.float64) - uncond)
    out = cond if in_place else np.empty_like(cond)
    guide(cond, uncond, scale, NONE, out)
    close(out, expected)


def test_rescaled_guidance_is_that_of_diffusers_in_the_rows_that_ask_for_it():
    cond, uncond = normal(0, 3), normal(1, 3)
    scale, rescale = np.full(3, 7.5, np.float32), np.array([0.7, 0, 1], np.float32)
    out = np.empty_like(cond)
    guide(cond, uncond, scale, rescale, out)
    plain = torch.from_numpy(uncond + np.float32(7.5) * (cond - uncond))
    for row, strength in enumerate(rescale.tolist()):
        one = slice(row, row + 1)
        expected = rescale_noise_cfg(plain[one], torch.from_numpy(cond[one]), guidance_rescale=strength)
        close(out[one], expected.numpy())


def test_rescaled_guidance_leaves_a_constant_as_it_is():
    cond = np.ones((1, *SHAPE), np.float32)
    guide(cond, cond.copy(), np.array([5], np.float32), np.array([1], np.float32), out=cond)
    np.testing.assert_array_equal(cond, 1)


def test_denoise_and_remember_are_their_formulas():
    latent, model_output, scratch, out = (normal(seed, 2) for seed in range(4))
    model_output.setflags(write=False)
    denoise(latent, model_output, weights(2, 0.5), weights(-1, 3), out=out, scratch=scratch)
    denoised = np.stack([2 * latent[0] - model_output[0], 0.5 * latent[1] + 3 * model_output[1]])
    close(out, denoised)
    remember(latent, denoised, weights(1, 0.5), weights(0, -2), out=out, scratch=scratch)
    close(out, np.stack([latent[0], 0.5 * latent[1] - 2 * denoised[1]]))


def test_advance_is_the_formula():
    latent, denoised, noise, scratch = (normal(seed, 2) for seed in range(4))
    memory = [normal(seed, 2) for seed in range(4, 7)]
    a, b, n = weights(0.9, 0.5), weights(0.1, 2), weights(0, 0.3)
    c = [weights(1, 0), weights(0, -2), weights(0.25, 0.5)]
    terms = [a * latent, b * denoised, n * noise, *(weight * value for weight, value in zip(c, memory))]
    advance(latent, denoised, memory, noise, a, b, c, n, scratch)
    close(latent, sum(terms))


def test_noise_may_be_left_out_only_if_no_row_needs_it():
    latent, denoised, scratch = (normal(seed, 2) for seed in range(3))
    one = weights(1, 1)
    advance(latent, denoised, [], None, one, one, [], weights(0, 0), scratch)
    with pytest.raises(ValueError, match=r"noise is None, but rows \[1\] need it"):
        advance(latent, denoised, [], None, one, one, [], weights(0, 1), scratch)
