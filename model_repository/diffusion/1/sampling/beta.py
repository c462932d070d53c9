"""Quantiles of the symmetric beta distribution, without SciPy."""

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)
NEWTON_STEPS = 8


def beta_quantiles(p: np.ndarray, shape: float) -> np.ndarray:
    """x (N,) with P(X <= x) = p (N,) for X ~ beta(shape, shape), 0 < shape < 1; P within 1e-12 for shape 0.6.

    In v = t^shape the density's pole at 0 is gone: t^(shape - 1) dt = dv / shape. Above p = 1/2 the other half mirrors.
    The mass is convex in v and at least v, so that Newton's steps from the right reach its root.
    """
    mass_of_half = _mass(np.array([0.5**shape]), shape)
    target = 2 * np.minimum(p, 1 - p) * mass_of_half
    v = target.copy()
    for _ in range(NEWTON_STEPS):
        v -= (_mass(v, shape) - target) * (1 - v ** (1 / shape)) ** (1 - shape)
    x = v ** (1 / shape)
    return np.where(p > 0.5, 1 - x, x)


def _mass(v: np.ndarray, shape: float) -> np.ndarray:
    """The integral of (1 - t)^(shape - 1) dv from 0 to `v` (N,), t = v^(1 / shape)."""
    points = v[:, None] / 2 * (1 + NODES)
    return v / 2 * ((1 - points ** (1 / shape)) ** (shape - 1) @ WEIGHTS)
