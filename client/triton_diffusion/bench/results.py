"""The results of a load test: plain values, as they are written to JSON. Times are milliseconds."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .parse import ModelTime

Load = Literal["concurrency", "request rate"]
BATCHING = "step-level batching"
BASELINE = "one active request"
DENOISER = "denoiser"  # the network that the loop calls, once a step


@dataclass(frozen=True)
class Percentiles:
    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Percentiles":
        """`values`: any number of them, at least one."""
        return cls(*np.percentile(values, (50, 90, 99)).tolist())


@dataclass(frozen=True)
class Level:
    """One run of perf_analyzer."""

    server: str  # BATCHING or BASELINE
    workload: str
    load: Load
    value: float  # requests at once, or requests a second that were asked for
    requests: int
    images_per_second: float
    sent_per_second: float
    latency: Percentiles
    samples_per_step: float  # samples that a denoiser call advanced, on average
    room: float  # wait of a request for room in the loop, on average
    models: dict[str, ModelTime]  # text_to_image and the networks, by name


@dataclass(frozen=True)
class InProcess:
    """The same requests in one process, without a server."""

    workload: str
    concurrency: int
    images_per_second: float


@dataclass(frozen=True)
class Streamed:
    """Times that a user of `Client.stream` sees, with a preview every step."""

    concurrency: int
    requests: int
    first_preview: Percentiles
    between_previews: Percentiles
    image: Percentiles


@dataclass
class Results:
    """Everything that one load test found."""

    about: dict[str, str | int]  # date, machine, versions
    levels: list[Level] = field(default_factory=list)
    in_process: list[InProcess] = field(default_factory=list)
    streamed: list[Streamed] = field(default_factory=list)

    def find(self, workload: str, load: Load, server: str = BATCHING) -> list[Level]:
        """The levels of one sweep, in the order of their load."""
        found = [
            level for level in self.levels if (level.workload, level.load, level.server) == (workload, load, server)
        ]
        return sorted(found, key=lambda level: level.value)
