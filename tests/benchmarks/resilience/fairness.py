"""Deadlines, long jobs beside short ones, and priorities."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import httpx2
from triton_diffusion import Client, Progress, ServerMetrics, server_metrics

from tests.benchmarks.resilience.figures import Figure
from tests.benchmarks.resilience.traffic import PROMPT, STEPS
from tests.launching import Server

MOST_IMAGES = 8  # of one request
LONG = 1000  # steps: minutes
SHORT = 12  # short requests, one after another


def deadlines(server: Server) -> list[Figure]:
    """Plain HTTP requests with Triton's parameter `timeout`, so that nobody but the server can end them."""
    before = _idle(server)
    count, seconds = int(before.max_active_samples), 2.0
    with ThreadPoolExecutor(count) as pool:
        ended = list(pool.map(lambda _: _until_expired(server, LONG, seconds), range(count)))
    after = _idle(server)
    step = _step_seconds(before, after)
    return [
        Figure("active requests that expired", after.requests_expired - before.requests_expired),
        Figure("a step", 1000 * step, "ms"),
        Figure("the last ended, steps after its deadline", (max(ended) - seconds) / step, at_most=2.0),
        *_queued_ones(server),
    ]


def _queued_ones(server: Server) -> list[Figure]:
    before = _idle(server)
    count = 12  # fewer than may wait
    with _room_filled(server, before, priority="high"), ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: _until_expired(server, 1, 1.0), range(count)))
    after = _idle(server)
    # All that had room are requests for MOST_IMAGES pictures: one picture of another would be left over.
    stray = (after.unet_samples - before.unet_samples) % MOST_IMAGES
    return [
        Figure("queued requests that expired", after.requests_expired - before.requests_expired),
        Figure("samples of theirs that the UNet saw", stray, at_most=0),
    ]


def fairness(server: Server) -> list[Figure]:
    """Short requests while jobs of 8 pictures and 1000 steps have all the room."""
    alone = _waits(server)
    before = _idle(server)
    with _room_filled(server, before):
        begin = server_metrics(server.metrics_url)
        waits = _waits(server)
        step = _step_seconds(begin, server_metrics(server.metrics_url))
    _idle(server)
    return [
        Figure("a step", 1000 * step, "ms"),
        Figure("short ones begin after, alone", 1000 * sorted(alone)[SHORT // 2], "ms"),
        Figure("short ones begin after, median", 1000 * sorted(waits)[SHORT // 2], "ms"),
        Figure("the slowest begins after, steps", max(waits) / step, at_most=2.0),
    ]


def priorities(server: Server) -> list[Figure]:
    """High ones while the loop and the queue are full of low ones."""
    before = _idle(server)
    with _room_filled(server, before, priority="low"):
        begin = server_metrics(server.metrics_url)
        waits = _waits(server, priority="high")
        step = _step_seconds(begin, server_metrics(server.metrics_url))
    _idle(server)
    return [Figure("a high one begins after, steps, at most", max(waits) / step, at_most=2.0)]


@contextmanager
def _room_filled(server: Server, metrics: ServerMetrics, **settings: str) -> Iterator[None]:
    """While long jobs have all the room of the loop."""
    with Client(server.grpc_url) as client, ExitStack() as stack:
        for seed in range(int(metrics.max_active_samples) // MOST_IMAGES):
            job = client.stream(PROMPT, seed=seed, num_images=MOST_IMAGES, num_inference_steps=LONG, **settings)
            next(stack.enter_context(closing(job)))
        yield


def _waits(server: Server, **settings: str) -> list[float]:
    """Seconds from sending a short request to its beginning in the loop."""
    waits = []
    with Client(server.grpc_url) as client:
        for seed in range(SHORT):
            start = time.monotonic()
            with closing(client.stream(PROMPT, seed=seed, num_inference_steps=STEPS, **settings)) as events:
                next(event for event in events if isinstance(event, Progress))
                waits.append(time.monotonic() - start)
                list(events)
    return waits


def _until_expired(server: Server, steps: int, seconds: float) -> float:
    """Seconds until a request with this deadline gets its error."""
    body = {
        "inputs": [
            {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [PROMPT]},
            {"name": "num_inference_steps", "datatype": "INT32", "shape": [1], "data": [steps]},
        ],
        "parameters": {"timeout": int(1e6 * seconds)},
    }
    start = time.monotonic()
    answer = httpx2.post(f"http://{server.http_url}/v2/models/text_to_image/infer", json=body, timeout=60)
    assert "has passed" in answer.json()["error"], answer.text
    return time.monotonic() - start


def _step_seconds(before: ServerMetrics, after: ServerMetrics) -> float:
    """Of the mean UNet call between two readings."""
    return (after.unet_seconds - before.unet_seconds) / (after.unet_steps - before.unet_steps)


def _idle(server: Server) -> ServerMetrics:
    """The metrics once no request is left."""
    while (metrics := server_metrics(server.metrics_url)).requests_in_flight:
        time.sleep(0.05)
    return metrics
