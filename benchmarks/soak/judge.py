"""The judge: does a series of samples grow, by the slope of what comes after its warm-up?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

BOUND = 1.0
"""Percent that a quantity may grow from the end of the warm-up to the end."""
WARM_UP = 0.25
"""Share of the time: allocators and caches fill, threads and connections are made."""
BLOCKS = 60
"""So many means stand for all samples; of a count, a median would hide what is less than one."""


@dataclass(frozen=True)
class Growth:
    """Growth from the end of the warm-up to the end in percent, and the ends of its interval of 95 %."""

    percent: float
    low: float
    high: float

    @property
    def grows(self) -> bool:
        """True for more than BOUND, unless it may be chance."""
        return bool(self.percent > BOUND and self.low > 0)


def growth(seconds: Sequence[float], values: Sequence[float]) -> Growth:
    """By the median of the slopes between any two blocks (Theil, 1950; Sen, 1968), which a few high ones do not move.

    Takes eight samples or more.
    """
    times, levels = blocks(seconds, values)
    slope, intercept, low, high = theilslopes(levels, times, 0.95)
    percent = 100 * (times[-1] - times[0]) / max(intercept + slope * times[0], 1.0)
    return Growth(float(slope * percent), float(low * percent), float(high * percent))


def end_of_warm_up(seconds: Sequence[float] | np.ndarray, warm_up: float = WARM_UP) -> float:
    """The second at which it is over."""
    return float(seconds[0] + warm_up * (seconds[-1] - seconds[0]))


def blocks(
    seconds: Sequence[float], values: Sequence[float], warm_up: float = WARM_UP
) -> tuple[np.ndarray, np.ndarray]:
    """The means of at most BLOCKS parts of the time after the warm-up: seconds and values."""
    times, levels = np.asarray(seconds, float), np.asarray(values, float)
    begin = int(np.searchsorted(times, end_of_warm_up(times, warm_up)))
    count = max(1, min(BLOCKS, len(times) - begin))
    return tuple(  # type: ignore[return-value]
        np.array([np.mean(part) for part in np.array_split(all_of[begin:], count)]) for all_of in (times, levels)
    )
