"""Streams by the package's own client: perf_analyzer measures a stream up to its first response only."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from .._client import Client
from .._events import Completed, Preview
from .results import Percentiles, Streamed
from .workload import Fields, Workload

Answer = TypeVar("Answer")


class _Times(NamedTuple):
    """Milliseconds after the request was sent."""

    previews: list[float]
    picture: float


def at_once(ask: Callable[[Fields], Answer], requests: Iterable[Fields], concurrency: int) -> list[Answer]:
    """The answers to `requests`, of which `concurrency` are under way at any time."""
    with ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(ask, requests))


def measure_streams(client: Client, workload: Workload, concurrency: int) -> Streamed:
    """Stream every request of `workload`, with a preview every step; each must have three steps or more."""
    times = at_once(lambda request: _times(client, request), workload.requests, concurrency)
    return Streamed(
        concurrency=concurrency,
        requests=len(times),
        first_preview=Percentiles.of(np.array([each.previews[0] for each in times])),
        between_previews=Percentiles.of(np.concatenate([np.diff(each.previews) for each in times])),
        picture=Percentiles.of(np.array([each.picture for each in times])),
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
