"""One normal request after another beside a flood: of requests that are cancelled at once, or of tiny ones."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import numpy as np
from triton_diffusion import Client

from benchmarks.resilience.figures import Figure
from benchmarks.resilience.traffic import PROMPT
from tests.support.launching import Server

THREADS = 8
NORMAL = 20  # steps
LONG = 1000  # steps of what is cancelled
REQUESTS = 24  # normal ones, one after another
SETTLE = 2.0  # seconds of flood before the first of them


def cancelled_at_once(server: Server) -> list[Figure]:
    """THREADS threads open streams, and cancel each at its first event."""
    return _beside(server, _open_and_cancel, "opened and cancelled")


def tiny(server: Server) -> list[Figure]:
    """THREADS threads ask for one step each."""
    return _beside(server, _one_step, "made")


def _beside(server: Server, flood: Callable[[Client], None], done: str) -> list[Figure]:
    spawn = multiprocessing.get_context(
        "spawn"
    )  # its own process, so that it shares no interpreter with the normal ones
    count, stopping = spawn.Value("L", 0), spawn.Event()
    with Client(server.grpc_url) as client:
        _seconds(client)  # everything is warm
        alone = _seconds(client)
        flooding = spawn.Process(target=_flood, args=(server.grpc_url, flood, count, stopping))
        flooding.start()
        try:
            while not count.value:
                time.sleep(0.05)
            time.sleep(SETTLE)
            before, start = count.value, time.monotonic()
            beside = _seconds(client)
            rate = (count.value - before) / (time.monotonic() - start)
        finally:
            stopping.set()
            flooding.join()
    server.wait_until_idle()
    return [
        Figure(f"{done}, a second", rate),
        Figure("a normal request alone, p50", 1000 * float(np.median(alone)), "ms"),
        Figure("beside them, p50", 1000 * float(np.median(beside)), "ms"),
        Figure("beside them, longest", 1000 * max(beside), "ms"),
    ]


def _seconds(client: Client) -> list[float]:
    """Of each normal request."""
    seconds = []
    for seed in range(REQUESTS):
        start = time.monotonic()
        client.text_to_image(PROMPT, seed=seed, num_inference_steps=NORMAL)
        seconds.append(time.monotonic() - start)
    return seconds


def _flood(url: str, one: Callable[[Client], None], count: "Synchronized[int]", stopping: Event) -> None:
    def again_and_again(_: int) -> None:
        with Client(url) as client:
            while not stopping.is_set():
                one(client)
                with count.get_lock():
                    count.value += 1

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(again_and_again, range(THREADS)))


def _open_and_cancel(client: Client) -> None:
    with closing(client.stream(PROMPT, seed=0, num_inference_steps=LONG)) as events:
        next(events)


def _one_step(client: Client) -> None:
    client.text_to_image(PROMPT, seed=0, num_inference_steps=1)
