"""Quantiles of the symmetric beta distribution with shape below 1, without SciPy."""

from functools import lru_cache

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)
BISECTIONS = 60


@lru_cache(maxsize=4096)
def beta_quantile(p: float, shape: float) -> float:
    """x with P(X <= x) = p for X ~ beta(shape, shape), 0 < shape < 1; within 1e-11 for shape 0.6.

    In v = t^shape the density's pole at 0 is gone: t^(shape-1) dt = dv / shape. Above p = 1/2 the other half mirrors.
    """
    if p == 0.5:
        return 0.5
    if p > 0.5:
        return 1 - beta_quantile(1 - p, shape)
    target = 2 * p * _mass(0.5**shape, shape)  # of the half that is whole at 1/2
    low, high = 0.0, 0.5**shape
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _mass(middle, shape) / 2 < target / 2 else (low, middle)
    return ((low + high) / 2) ** (1 / shape)


def _mass(v: float, shape: float) -> float:
    """The integral of (1 - t)^(shape - 1) dv from 0 to `v`, t = v^(1 / shape)."""
    points = v / 2 * (1 + NODES)
    return v / 2 * float(WEIGHTS @ (1 - points ** (1 / shape)) ** (shape - 1))
