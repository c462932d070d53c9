"""One step of a ragged batch: each row has its own sampler, position and coefficients.

Only elementwise operations, and reductions within a row: a row's values do not depend on its neighbours, bit for bit.
Everything large is done in place, in float32. Arrays are (S, C, h, w) float32, weights (S, 1, 1, 1) float32.
"""

from collections.abc import Sequence

import numpy as np


def guide(
    cond: np.ndarray, uncond: np.ndarray, guidance_scale: np.ndarray, guidance_rescale: np.ndarray, out: np.ndarray
) -> None:
    """Classifier-free guidance, arXiv 2207.12598 eq. 6 in diffusers' scale (1 = none), rescaled where asked for.

    cond, uncond: model outputs. guidance_scale, guidance_rescale: (S,) float32. out: may be `cond`, not `uncond`.
    """
    rescaled = np.flatnonzero(guidance_rescale)
    deviations = [_deviation(cond[row]) for row in rescaled]
    np.subtract(cond, uncond, out=out)
    out *= guidance_scale[:, None, None, None]
    out += uncond
    for row, deviation in zip(rescaled, deviations):
        _rescale(out[row], deviation, guidance_rescale[row])


def _deviation(sample: np.ndarray) -> np.floating:
    """The standard deviation of one sample, N-1 in the denominator as in PyTorch."""
    return np.std(sample, dtype=np.float64, ddof=1)


def _rescale(guided: np.ndarray, deviation: np.floating, strength: np.floating) -> None:
    """Bring the deviation of `guided` (C, h, w) back to the conditional one's, arXiv 2305.08891 eq. 15 and 16."""
    found = _deviation(guided)
    if found > 0:  # of a constant there is nothing to bring back
        guided *= np.float32(strength * deviation / found + 1 - strength)


def denoise(
    latent: np.ndarray,
    model_output: np.ndarray,
    x_weight: np.ndarray,
    output_weight: np.ndarray,
    out: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """`out` becomes denoised = x_weight * x + output_weight * model_output."""
    np.multiply(latent, x_weight, out=scratch)
    np.multiply(model_output, output_weight, out=out)
    out += scratch


def remember(
    latent: np.ndarray, denoised: np.ndarray, p: np.ndarray, q: np.ndarray, out: np.ndarray, scratch: np.ndarray
) -> None:
    """`out` becomes the value to remember, H = p * x + q * denoised, of the latent before the step."""
    np.multiply(latent, p, out=scratch)
    np.multiply(denoised, q, out=out)
    out += scratch


def advance(
    latent: np.ndarray,
    denoised: np.ndarray,
    memory: Sequence[np.ndarray],
    noise: np.ndarray | None,
    a: np.ndarray,
    b: np.ndarray,
    c: Sequence[np.ndarray],
    n: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """`latent` becomes a * x + c1 * H1 + c2 * H2 + c3 * H3 + b * denoised + n * noise, added in this order.

    memory: H1, the newest remembered value, first; as many as the rows' tables use, with a weight in `c` each. A row
    of weight 0 may hold any finite value there and in `noise`, which may be None where no row needs it.
    """
    if noise is None and n.any():
        rows = np.flatnonzero(n).tolist()
        raise ValueError(f"noise is None, but rows {rows} need it: pass (S, C, h, w) noise")
    latent *= a
    for weight, remembered in zip(c, memory):
        if weight.any():
            np.multiply(remembered, weight, out=scratch)
            latent += scratch
    np.multiply(denoised, b, out=scratch)
    latent += scratch
    if noise is not None:
        np.multiply(noise, n, out=scratch)
        latent += scratch
