"""The process of a model that dies with 32 requests in the server."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from triton_diffusion import Client, DiffusionError

from benchmarks.resilience.figures import Figure
from benchmarks.resilience.traffic import CLIENTS, PROMPT
from tests.support.replicas import Replica

STEPS = 60  # seconds of work for all clients together
BACK_WITHIN = 10.0  # seconds
MEBIBYTE = 2**20


def kill_model(replica: Replica, model: str) -> list[Figure]:
    """`kill -9` of the process of `model`; no client tries again."""
    shared = replica.shared_memory()
    with Client(replica.server.grpc_url, retries=0) as client, ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(_ask, client, seed) for seed in range(CLIENTS)]
        while replica.server.metric("diffusion_requests_in_flight") < CLIENTS:
            time.sleep(0.05)
        time.sleep(1)
        replica.kill_model(model)
        killed = time.monotonic()
        replica.wait()
        while _ask(client, 0, steps=1) != "image":
            time.sleep(0.1)
        back = time.monotonic() - killed
        ended = Counter(answer.result() for answer in asked)
    for reason, count in ended.items():
        print(f"{count} x {reason}")
    grown = replica.shared_memory() - shared
    return [
        Figure("requests that ended with an image", ended["image"]),
        Figure("requests that ended with an error", ended.total() - ended["image"]),
        Figure("back after", back, "s", BACK_WITHIN),
        Figure("/dev/shm has grown by", grown / MEBIBYTE, "MiB", at_most=0),
    ]


def _ask(client: Client, seed: int, steps: int = STEPS) -> str:
    """The end of the request, in words."""
    try:
        client.text_to_image(PROMPT, seed=seed, num_inference_steps=steps)
    except DiffusionError as error:
        return f"{type(error).__name__}: {error}"
    return "image"
