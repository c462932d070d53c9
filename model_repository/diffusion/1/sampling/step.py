"""One step of a ragged batch: each row has its own sampler, position and coefficients.

Only elementwise operations: a row's values do not depend on its neighbours, bit for bit. Everything large is done in
place, in float32.
"""

import numpy as np


def guide(cond: np.ndarray, uncond: np.ndarray, guidance_scale: np.ndarray, out: np.ndarray) -> None:
    """Classifier-free guidance, arXiv 2207.12598 eq. 6 in diffusers' scale (1 = none).

    cond, uncond: (S, C, h, w) float32 model outputs. guidance_scale: (S,) float32. out: (S, C, h, w) float32, which may
    be `cond`, not `uncond`.
    """
    np.subtract(cond, uncond, out=out)
    out *= guidance_scale[:, None, None, None]
    out += uncond


def advance(
    latent: np.ndarray,
    model_output: np.ndarray,
    old_denoised: np.ndarray,
    noise: np.ndarray | None,
    coefficients: np.ndarray,
) -> None:
    """One step of every row: `latent` becomes the next latent and `old_denoised` this step's denoised, in place.

    latent, model_output, old_denoised, noise: (S, C, h, w) float32. coefficients: (S, 6) float32, row k taken from
    `StepTable.coefficients` at row k's own position. `model_output` is only read; `noise` is used up.

    A row whose `c` is 0 (it has just joined) may hold anything in `old_denoised`, and one whose `n` is 0 anything in
    `noise`; `noise` may be None when no row needs it.
    """
    x_weight, output_weight, a, b, c, n = coefficients.T[..., None, None, None]  # each (S, 1, 1, 1)
    if noise is None and n.any():
        raise ValueError(f"noise is None, but rows {np.flatnonzero(n).tolist()} need it: pass (S, C, h, w) noise")

    scratch = latent * x_weight
    latent *= a
    _add_weighted(latent, old_denoised, c)
    denoised = np.multiply(model_output, output_weight, out=old_denoised)  # its old values are spent
    denoised += scratch
    np.multiply(denoised, b, out=scratch)
    latent += scratch
    if noise is not None:
        _add_weighted(latent, noise, n)


def _add_weighted(latent: np.ndarray, term: np.ndarray, weight: np.ndarray) -> None:
    """latent += weight * term, using `term` up; rows of weight 0 are cleared unread: they may hold NaN."""
    if weight.any():
        term[weight.ravel() == 0] = 0
        term *= weight
        latent += term
