"""Streams of the package's own client, timed: perf_analyzer measures a stream up to its first response only."""

import time
from typing import NamedTuple

import numpy as np

from .._client import Client
from .._events import Completed, Preview
from .concurrency import concurrently
from .results import Percentiles, Streamed
from .workload import Fields, Workload


class _Times(NamedTuple):
    """Milliseconds after the request was sent."""

    previews: list[float]
    image: float


def measure_streams(client: Client, workload: Workload, concurrency: int) -> Streamed:
    """The times of every request of `workload`, with a preview every step; each must have three steps or more."""
    times = concurrently(lambda request: _times(client, request), workload.requests, concurrency)
    return Streamed(
        concurrency=concurrency,
        requests=len(times),
        first_preview=Percentiles.of(np.array([each.previews[0] for each in times])),
        between_previews=Percentiles.of(np.concatenate([np.diff(each.previews) for each in times])),
        image=Percentiles.of(np.array([each.image for each in times])),
    )


def _times(client: Client, request: Fields) -> _Times:
    start = time.perf_counter()
    previews: list[float] = []
    for event in client.stream(**request, preview_interval=1):
        since = 1000 * (time.perf_counter() - start)
        if isinstance(event, Preview):
            previews.append(since)
        elif isinstance(event, Completed):
            return _Times(previews, since)
    raise AssertionError("unreachable: a stream ends with Completed or raises")
