"""Deadlines, long jobs beside short ones, and priorities."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import httpx2
from triton_diffusion import Client, Progress, ServerMetrics, server_metrics

from benchmarks.resilience.figures import Figure, percentiles
from benchmarks.resilience.traffic import PROMPT, STEPS
from tests.support.launching import Server

MOST_IMAGES = 8  # of one request
LONG = 1000  # steps: minutes
SHORT = 12  # short requests, one after another


def deadlines(server: Server) -> list[Figure]:
    """Plain HTTP requests with Triton's parameter `timeout`, so that nobody but the server can end them."""
    before = _idle(server)
    count, seconds = int(before.max_active_samples), 3.0
    with _plain_http(server) as client, ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(_until_expired, client, LONG, seconds) for _ in range(count)]
        time.sleep(seconds / 2)  # by now all are in the loop
        begin = server_metrics(server.metrics_url)
        ended = [one.result() for one in asked]
    after = _idle(server)
    step = _step_seconds(begin, after)
    return [
        Figure("active requests that expired", after.requests_expired - before.requests_expired),
        Figure("a step", 1000 * step, "ms"),
        Figure("the last ended, steps after its deadline", (max(ended) - seconds) / step, at_most=2.0),
        *_queued_ones(server),
    ]


def _queued_ones(server: Server) -> list[Figure]:
    before = _idle(server)
    count = 12  # fewer than may wait
    with (
        _room_filled(server, before, priority="high"),
        _plain_http(server) as client,
        ThreadPoolExecutor(count) as pool,
    ):
        list(pool.map(lambda _: _until_expired(client, 1, 1.0), range(count)))
    after = _idle(server)
    # All that had room are requests for MOST_IMAGES images: one image of another would be left over.
    stray = (after.denoiser_samples - before.denoiser_samples) % MOST_IMAGES
    return [
        Figure("queued requests that expired", after.requests_expired - before.requests_expired),
        Figure("samples of theirs that the denoiser saw", stray, at_most=0),
    ]


def fairness(server: Server) -> list[Figure]:
    """Short requests while jobs of 8 images and 1000 steps have all the room."""
    alone = _begin(server)
    return [
        Figure("alone, from sending it to its first step, p50", 1000 * sorted(alone)[SHORT // 2], "ms"),
        *_beside_long_jobs(server),
    ]


def priorities(server: Server) -> list[Figure]:
    """High ones while such jobs of low priority have all the room."""
    return _beside_long_jobs(server, theirs="low", ours="high")


def _beside_long_jobs(server: Server, theirs: str = "normal", ours: str = "normal") -> list[Figure]:
    before = _idle(server)
    with _room_filled(server, before, priority=theirs):
        full = server_metrics(server.metrics_url)
        time.sleep(2)
        begin = server_metrics(server.metrics_url)
        seconds = _begin(server, priority=ours)
        end = server_metrics(server.metrics_url)
    _idle(server)
    step = _step_seconds(full, begin)
    waited = (end.queue_wait_seconds - begin.queue_wait_seconds) / SHORT
    return [
        Figure("a step of the full loop", 1000 * step, "ms"),
        Figure("it waits for room, mean", waited / step, "steps", at_most=1.0),
        *percentiles("from sending it to its first step", seconds),
    ]


@contextmanager
def _room_filled(server: Server, metrics: ServerMetrics, priority: str) -> Iterator[None]:
    """While long jobs have all the room of the loop."""
    with Client(server.grpc_url) as client, ExitStack() as stack:
        for seed in range(int(metrics.max_active_samples) // MOST_IMAGES):
            job = client.stream(PROMPT, seed=seed, num_images=MOST_IMAGES, num_inference_steps=LONG, priority=priority)
            next(stack.enter_context(closing(job)))
        yield


def _begin(server: Server, priority: str = "normal") -> list[float]:
    """Seconds from sending a short request to its beginning in the loop, for one after another."""
    seconds = []
    with Client(server.grpc_url) as client:
        for seed in range(SHORT):
            time.sleep(random.uniform(0, 0.5))  # it may come at any moment of a step
            start = time.monotonic()
            stream = client.stream(PROMPT, seed=seed, num_inference_steps=STEPS, priority=priority)
            with closing(stream) as events:
                next(event for event in events if isinstance(event, Progress))
                seconds.append(time.monotonic() - start)
                list(events)
    return seconds


def _plain_http(server: Server) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://{server.http_url}", verify=False, timeout=60)


def _until_expired(client: httpx2.Client, steps: int, seconds: float) -> float:
    """Seconds until a request with this deadline gets its error."""
    body = {
        "inputs": [
            {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [PROMPT]},
            {"name": "num_inference_steps", "datatype": "INT32", "shape": [1], "data": [steps]},
        ],
        "parameters": {"timeout": int(1e6 * seconds)},
    }
    start = time.monotonic()
    answer = client.post("/v2/models/text_to_image/infer", json=body)
    assert "has passed" in answer.json()["error"], answer.text
    return time.monotonic() - start


def _step_seconds(before: ServerMetrics, after: ServerMetrics) -> float:
    """Seconds of the mean denoiser call between two readings."""
    return (after.denoiser_seconds - before.denoiser_seconds) / (after.denoiser_steps - before.denoiser_steps)


def _idle(server: Server) -> ServerMetrics:
    """The metrics once no request is left."""
    while (metrics := server_metrics(server.metrics_url)).requests_in_flight:
        time.sleep(0.05)
    return metrics
