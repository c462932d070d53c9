"""Figures: measured values, and the promises about them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str = ""
    at_most: float | None = None  # the promise, where there is one

    @property
    def kept(self) -> bool:
        return self.at_most is None or self.value <= self.at_most

    def as_record(self) -> dict[str, float | str]:
        """As JSON holds it, with a unit and a promise where there are any."""
        record: dict[str, float | str] = {"value": round(self.value, 3)}
        if self.unit:
            record["unit"] = self.unit
        if self.at_most is not None:
            record["at_most"] = round(self.at_most, 3)
        return record


def percentiles(name: str, seconds: Sequence[float], at_most: float | None = None) -> list[Figure]:
    """The median, the 99th percentile and the longest of `seconds`, in ms; the promise, in ms, is on the longest."""
    p50, p99 = np.percentile(seconds, (50, 99)) * 1000
    return [
        Figure(f"{name}, p50", p50, "ms"),
        Figure(f"{name}, p99", p99, "ms"),
        Figure(f"{name}, longest", max(seconds) * 1000, "ms", at_most),
    ]
