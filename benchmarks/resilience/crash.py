"""The process of a model, or Triton itself, that dies with 32 requests in the server."""

import contextlib
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from triton_diffusion import Client, DiffusionError

from benchmarks.resilience.figures import Figure
from benchmarks.resilience.traffic import CLIENTS, PROMPT, images_made_alone, traffic
from tests.support.replicas import Replica

STEPS = 60  # seconds of work for all clients together
BACK_WITHIN = 10.0  # seconds
TRITON_BACK_WITHIN = 5.0  # seconds
TIMES = 3  # deaths of Triton
SETTLE = 5.0  # seconds of load before and after each
MEBIBYTE = 2**20
ABORTING = b'{"inputs": [{"name": "seed", "datatype": "INT64", "shape": [9223372036854775807], "data": [7]}]}'
"""A request that Triton 2.51 does not survive."""


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


def abort(replica: Replica) -> None:
    """Send the request that ends Triton."""
    url = f"http://{replica.server.http_url}/v2/models/text_to_image/infer"
    with contextlib.suppress(OSError):  # the connection is lost
        urllib.request.urlopen(urllib.request.Request(url, ABORTING), timeout=30)


def lose_triton(replica: Replica, end: Callable[[Replica], None]) -> list[Figure]:
    """`end` Triton again and again; clients are as their defaults make them, and each begins before the first loss."""
    url = replica.server.grpc_url
    ways = {"gRPC": lambda: Client(url), "HTTP": lambda: Client(replica.server.http_url, "http")}
    back = []
    with Client(url) as client:
        expected = images_made_alone(client)
    with traffic(ways, expected) as record:
        for _ in range(TIMES):
            time.sleep(SETTLE)
            lost = time.monotonic()
            end(replica)
            replica.wait()
            back.append(time.monotonic() - lost)
        time.sleep(SETTLE)
    for error, count in record.errors().items():
        print(f"{count} x {error}")
    return [*record.figures(), Figure("ready again after, longest", max(back), "s", TRITON_BACK_WITHIN)]


def _ask(client: Client, seed: int, steps: int = STEPS) -> str:
    """The end of the request, in words."""
    try:
        client.text_to_image(PROMPT, seed=seed, num_inference_steps=steps)
    except DiffusionError as error:
        return f"{type(error).__name__}: {error}"
    return "image"
