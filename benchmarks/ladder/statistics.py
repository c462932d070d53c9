"""Certainty of the figures: bootstrap intervals and the exact paired test."""

import math

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
DEVIATIONS = 1.959964
"""Standard deviations of the normal distribution that hold that share."""


def bootstrap_rms(mean_squares: np.ndarray, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The root of the mean of `mean_squares`, one an image (N,), and its 95 % percentile interval over images."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(mean_squares), size=(RESAMPLES, len(mean_squares)))
    low, high = np.quantile(np.sqrt(mean_squares[draws].mean(1)), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(np.sqrt(mean_squares.mean())), (float(low), float(high))


def share(verdicts: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The share of `verdicts`, bool (N,), that are true, and its 95 % interval (Wilson 1927)."""
    count, found, squared = len(verdicts), float(verdicts.mean()), DEVIATIONS**2
    centre = (found + squared / (2 * count)) / (1 + squared / count)
    reach = DEVIATIONS * math.sqrt(found * (1 - found) / count + squared / (4 * count**2)) / (1 + squared / count)
    return found, (centre - reach, centre + reach)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The two-sided p of McNemar's exact test on paired verdicts, bool (N,): do both succeed equally often?

    Only pairs that differ speak; under the null hypothesis each falls to either side like a fair coin.
    """
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    differing, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(differing, k) for k in range(fewer + 1)) / 2**differing
    return min(1.0, 2 * tail)
