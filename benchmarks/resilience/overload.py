"""More requests than a server can make: what is let in, and how soon the rest hears."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from triton_diffusion import AsyncClient, Client, DiffusionError, ServerOverloaded, server_metrics

from benchmarks.resilience.figures import Figure, percentiles
from benchmarks.resilience.traffic import PROMPT, STEPS
from tests.support.launching import Server

TIMES = 4  # as many requests as the server has capacity for
SECONDS = 12.0
MAX_QUEUE = 16  # images that may wait; for the launcher
REFUSED_WITHIN = 100.0  # ms


def overload(server: Server) -> list[Figure]:
    """Requests come at TIMES the rate at which the server makes images, by gRPC and HTTP in turn, each tried once."""
    room = int(server_metrics(server.metrics_url).max_active_samples)
    capacity = _capacity(server, room)
    return [Figure("capacity", capacity, "images/s"), *asyncio.run(_ask(server, TIMES * capacity, room))]


def _capacity(server: Server, room: int) -> float:
    """Images a second with the loop full."""
    count = 6 * room
    with Client(server.grpc_url) as client, ThreadPoolExecutor(room) as pool:
        start = time.monotonic()
        list(pool.map(lambda seed: client.text_to_image(PROMPT, num_inference_steps=STEPS, seed=seed), range(count)))
        return count / (time.monotonic() - start)


async def _ask(server: Server, rate: float, room: int) -> list[Figure]:
    accepted: list[float] = []  # seconds until the image
    refused: list[float] = []  # seconds until the error
    hints: list[float] = []
    failed: list[str] = []
    waiting: list[float] = []  # requests in the queue, read again and again

    async def one(client: AsyncClient) -> None:
        start = time.monotonic()
        try:
            await client.text_to_image(PROMPT, num_inference_steps=STEPS)
        except ServerOverloaded as error:
            refused.append(time.monotonic() - start)
            hints.append(error.retry_after or 0.0)
        except DiffusionError as error:
            failed.append(str(error))
        else:
            accepted.append(time.monotonic() - start)

    async def watch() -> None:
        while True:
            waiting.append((await asyncio.to_thread(server_metrics, server.metrics_url)).waiting_requests)
            await asyncio.sleep(0.25)

    async with (
        AsyncClient(server.grpc_url, retries=0) as over_grpc,
        AsyncClient(server.http_url, "http", retries=0) as over_http,
        asyncio.TaskGroup() as group,
    ):
        for client in (over_grpc, over_http):  # connected, and the checkpoint known, before the clock runs
            await client.text_to_image(PROMPT, num_inference_steps=1)
        watching = group.create_task(watch())
        start = time.monotonic()
        asked = []
        for number, client in enumerate(cycle((over_grpc, over_http))):
            if number >= rate * SECONDS:
                break
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            asked.append(group.create_task(one(client)))
        await asyncio.wait(asked)
        throughput = len(accepted) / (time.monotonic() - start)
        watching.cancel()
    for error in set(failed):
        print(f"{failed.count(error)} x {error}")
    return [
        Figure("requests", len(asked)),
        Figure("accepted", len(accepted)),
        Figure("refused with a hint", sum(hint >= 1 for hint in hints)),
        Figure("refused without a hint", sum(hint < 1 for hint in hints), at_most=0),
        Figure("failed otherwise", len(failed), at_most=0),
        Figure("most requests in the queue", max(waiting), at_most=MAX_QUEUE),
        *percentiles("refused after", refused, REFUSED_WITHIN),
        Figure("shortest hint", min(hints), "s"),
        Figure("longest hint", max(hints), "s"),
        # Before an image are those in the queue, in the loop and, at most as many as in the loop, in the decoder.
        *percentiles("accepted, done after", accepted, 1000 * (MAX_QUEUE + 2 * room) / throughput),
        Figure("images a second", throughput),
    ]
