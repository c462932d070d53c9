"""One normal request after another beside eight threads that ask without a pause: as it does, for tiny images, or to
cancel at once."""

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
REQUESTS = 8  # normal ones, one after another
SETTLE = 2.0  # seconds of flood before the first of them


def floods(server: Server) -> list[Figure]:
    """The first is what a server that is shared fairly costs anyway: what the others ask for is less."""
    with Client(server.grpc_url) as client:
        _seconds(client)  # everything is warm
        alone = _seconds(client)
        return [
            Figure("alone, p50", 1000 * float(np.median(alone)), "ms"),
            *_beside(server, client, _normal, "beside 8 threads that ask the same"),
            *_beside(server, client, _one_step, "beside 8 threads that ask for one step"),
            *_beside(server, client, _open_and_cancel, "beside 8 threads that open streams and cancel at once"),
        ]


def _beside(server: Server, client: Client, flood: Callable[[Client], None], name: str) -> list[Figure]:
    # In a process of its own, so that the flood shares no interpreter with the normal requests.
    spawn = multiprocessing.get_context("spawn")
    count, stopping = spawn.Value("L", 0), spawn.Event()
    flooding = spawn.Process(target=_flood, args=(server.grpc_url, flood, count, stopping), daemon=True)
    flooding.start()
    try:
        while not count.value:
            time.sleep(0.05)
        time.sleep(SETTLE)
        before, start = count.value, time.monotonic()
        seconds = _seconds(client)
        rate = (count.value - before) / (time.monotonic() - start)
    finally:
        stopping.set()
        flooding.join()
    server.wait_until_idle()
    return [
        Figure(f"{name}, p50", 1000 * float(np.median(seconds)), "ms"),
        Figure(f"{name}, longest", 1000 * max(seconds), "ms"),
        Figure(f"{name}: so many of theirs", rate, "a second"),
    ]


def _seconds(client: Client) -> list[float]:
    """Of each normal request."""
    seconds = []
    for seed in range(REQUESTS):
        start = time.monotonic()
        _normal(client, seed)
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


def _normal(client: Client, seed: int = 0) -> None:
    client.text_to_image(PROMPT, seed=seed, num_inference_steps=NORMAL)


def _open_and_cancel(client: Client) -> None:
    with closing(client.stream(PROMPT, seed=0, num_inference_steps=LONG)) as events:
        next(events)


def _one_step(client: Client) -> None:
    client.text_to_image(PROMPT, seed=0, num_inference_steps=1)
