"""Servers that die, come back, and stand in for each other."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from triton_diffusion import AsyncClient, Client, Completed, Progress, arguments_of

from tests.launching import Server, launch, wait_until_ready

PROMPT = "a small red circle on the left of a blue background"
STEPS = 100  # seconds: time to kill a server in
PATIENT = 12  # retries: longer than a server takes to start


def triton(launcher: subprocess.Popen[str]) -> int:
    """The process id of the server that `launcher` has started."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (child,) = children
    return int(child)


def kill(launcher: subprocess.Popen[str]) -> None:
    """End a server as a crash does: no word to anybody."""
    os.kill(triton(launcher), signal.SIGKILL)
    launcher.wait(timeout=90)


@contextmanager
def running(repository: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Server]]:
    launcher = launch(repository, *options)
    try:
        yield launcher, wait_until_ready(launcher)
    finally:
        launcher.terminate()
        launcher.wait(timeout=90)


def ports(server: Server) -> list[str]:
    """The options of a launcher that start a server at the same addresses."""
    urls = {"http": server.http_url, "grpc": server.grpc_url, "metrics": server.metrics_url}
    return [f"--{name}-port={url.rpartition(':')[2]}" for name, url in urls.items()]


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_a_server_killed_amid_requests_and_started_again_gives_the_same_pictures(server, shipped_repository):
    settings = {"num_inference_steps": STEPS, "seed": 7}
    with Client(server.grpc_url) as client:
        (expected,) = client.text_to_image(PROMPT, **settings)
    with (
        running(shipped_repository) as (first, mortal),
        ThreadPoolExecutor() as pool,
        Client(mortal.grpc_url, retries=PATIENT) as grpc_client,
        Client(mortal.http_url, "http", retries=PATIENT) as http_client,
    ):
        answers = [pool.submit(one.text_to_image, PROMPT, **settings) for one in (grpc_client, http_client)]
        while mortal.metric("diffusion_active_samples") < 2:
            time.sleep(0.02)
        kill(first)
        assert not any(answer.done() for answer in answers)
        with running(shipped_repository, *ports(mortal)) as (_, again):
            images = [answer.result(120)[0] for answer in answers]
            assert again.metric("diffusion_requests_total") == 2
    assert all(same(image, expected) for image in images)


def test_a_stream_starts_over_on_the_other_server(server, shipped_repository, run):
    steps: list[int] = []

    async def ask(launcher: subprocess.Popen[str], urls: list[str]) -> tuple[Image.Image, Image.Image]:
        async with AsyncClient(urls) as client:
            async for event in client.stream(PROMPT, num_inference_steps=STEPS):
                if isinstance(event, Progress):
                    steps.append(event.step)
                    if steps == list(range(10)):
                        kill(launcher)
            assert isinstance(event, Completed)
            (image,) = await client.text_to_image(**arguments_of(event.images[0].info))
            return image, event.images[0]

    with running(shipped_repository) as (launcher, mortal):
        again, streamed = run(ask(launcher, [mortal.grpc_url, server.grpc_url]))
    assert steps[steps.index(0, 1) :] == list(range(STEPS + 1))
    assert same(again, streamed)


def test_of_two_servers_one_is_killed_and_none_of_200_requests_is_lost(server, shipped_repository):
    with running(shipped_repository) as (launcher, mortal), Client([mortal.grpc_url, server.grpc_url]) as client:
        done = threading.Semaphore(0)

        def ask(k: int) -> Image.Image:
            (image,) = client.text_to_image(PROMPT, num_inference_steps=4, seed=k % 10)
            done.release()
            return image

        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(ask, k) for k in range(200)]
            for _ in range(50):
                assert done.acquire(timeout=60)
            kill(launcher)
            images = [answer.result(120) for answer in answers]
    assert all(same(image, images[k % 10]) for k, image in enumerate(images))


def test_a_server_that_is_stopped_in_good_order_sends_its_requests_to_the_other(server, shipped_repository):
    with running(shipped_repository) as (launcher, mortal), Client([mortal.grpc_url, server.grpc_url]) as client:

        def ask(k: int) -> Image.Image:
            *_, completed = client.stream(PROMPT, num_inference_steps=10, seed=k % 4)
            assert isinstance(completed, Completed)
            return completed.images[0]

        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(ask, k) for k in range(40)]
            answers[4].result(60)
            launcher.terminate()
            images = [answer.result(120) for answer in answers]
    assert all(same(image, images[k % 4]) for k, image in enumerate(images))
