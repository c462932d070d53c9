"""One step of a ragged batch: each row has its own sampler, position and coefficients.

Only elementwise operations, and reductions within a row: a row's values do not depend on its neighbours, bit for bit.
Arrays are (S, C, h, w) float32, weights (S, 1, 1, 1) float32, of any library with the array API.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from array_api_compat import array_namespace

Array: TypeAlias = Any


def guide(cond: Array, uncond: Array, guidance_scale: Array, guidance_rescale: Mapping[int, float]) -> Array:
    """Classifier-free guidance, arXiv 2207.12598 eq. 6 in diffusers' scale (1 = none), rescaled where asked for.

    cond, uncond: model outputs. guidance_scale: weights. guidance_rescale: by row, of those rows that ask for it.
    """
    guided = (cond - uncond) * guidance_scale + uncond
    for row, strength in guidance_rescale.items():
        guided[row, ...] *= _rescaling(guided[row, ...], cond[row, ...], strength)
    return guided


def _rescaling(guided: Array, cond: Array, strength: float) -> Array:
    """The factor that brings the deviation of `guided` (C, h, w) back to that of `cond`, arXiv 2305.08891 eq. 15 and
    16; 1 for a constant, of which there is nothing to bring back."""
    xp = array_namespace(guided)
    found, wanted = _deviation(guided), _deviation(cond)
    one = xp.ones_like(found)
    factor = strength * wanted / xp.where(found > 0, found, one) + 1 - strength
    return xp.astype(xp.where(found > 0, factor, one), xp.float32)


def _deviation(sample: Array) -> Array:
    """The standard deviation of one sample, N-1 in the denominator as in PyTorch."""
    xp = array_namespace(sample)
    return xp.std(xp.astype(sample, xp.float64), correction=1)


def denoise(latent: Array, model_output: Array, x_weight: Array, output_weight: Array) -> Array:
    """denoised = x_weight * x + output_weight * model_output."""
    return latent * x_weight + model_output * output_weight


def remember(latent: Array, denoised: Array, p: Array, q: Array) -> Array:
    """The value to remember, H = p * x + q * denoised, of the latent before the step."""
    return latent * p + denoised * q


def advance(latent: Array, a: Array, terms: Iterable[tuple[Array, Array]]) -> None:
    """`latent` becomes a * x + the sum of weight * value over `terms`, added in their order.

    A value may be anything finite in rows of weight 0.
    """
    latent *= a
    for weight, value in terms:
        latent += value * weight
