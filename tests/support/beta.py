"""The beta distribution, for the quantiles of the sampling package to be held to."""

import math


def beta_distribution(x: float, shape: float = 0.6) -> float:
    """P(X <= x) of beta(shape, shape) by its power series, DLMF 8.17.7; quick up to 1/2, mirrored above."""
    if x > 0.5:
        return 1 - beta_distribution(1 - x, shape)
    total, term = 0.0, 1.0
    for k in range(45):
        total += term / (shape + k)
        term *= x * (1 - shape + k) / (1 + k)
    return x**shape * total * math.gamma(2 * shape) / math.gamma(shape) ** 2
