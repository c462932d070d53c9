"""Servers that die, come back, and stand in for each other."""

import asyncio
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
import pytest
from PIL import Image
from triton_diffusion import AsyncClient, Client, Completed, Progress

from tests.launching import Server, launch, wait_until_ready

PROMPT = "a small red circle on the left of a blue background"
STEPS = 150  # a few seconds: time to kill a server in
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


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_killed_amid_a_request_and_started_again_gives_the_same_picture(server, shipped_repository, protocol):
    settings = {"num_inference_steps": STEPS, "seed": 7}
    with Client(server.grpc_url) as client:
        (expected,) = client.text_to_image(PROMPT, **settings)
    with running(shipped_repository) as (first, mortal), ThreadPoolExecutor() as pool:
        url = {"grpc": mortal.grpc_url, "http": mortal.http_url}[protocol]
        with Client(url, protocol, retries=PATIENT) as client:
            answer = pool.submit(client.text_to_image, PROMPT, **settings)
            while mortal.metric("diffusion_unet_steps_total") < STEPS / 10:
                time.sleep(0.02)
            kill(first)
            assert not answer.done()
            with running(shipped_repository, *ports(mortal)) as (_, again):
                (image,) = answer.result(60)
                assert again.metric("diffusion_unet_steps_total") >= STEPS
    assert same(image, expected)


def test_a_stream_starts_over_on_the_other_server(server, shipped_repository):
    with running(shipped_repository) as (launcher, mortal), Client([mortal.grpc_url, server.grpc_url]) as client:
        steps = []
        for event in client.stream(PROMPT, num_inference_steps=STEPS):
            if isinstance(event, Progress):
                steps.append(event.step)
                if event.step == 10 and steps.count(10) == 1:
                    kill(launcher)
        assert isinstance(event, Completed)
        again = steps.index(0, 1)
        assert steps[again:] == list(range(STEPS + 1))
        (image,) = client.text_to_image(PROMPT, num_inference_steps=STEPS, seed=event.images[0].info["seed"])
    assert same(image, event.images[0])


def test_of_two_servers_one_is_killed_and_none_of_200_requests_is_lost(server, shipped_repository):
    def numbered(image: Image.Image, seed: int) -> Image.Image:
        assert image.info["seed"] == seed
        return image

    with running(shipped_repository) as (launcher, mortal), Client([mortal.grpc_url, server.grpc_url]) as client:
        done = threading.Semaphore(0)

        def ask(k: int) -> Image.Image:
            (image,) = client.text_to_image(PROMPT, num_inference_steps=4, seed=k % 10)
            done.release()
            return numbered(image, k % 10)

        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(ask, k) for k in range(200)]
            for _ in range(50):
                assert done.acquire(timeout=60)
            kill(launcher)
            images = [answer.result(120) for answer in answers]
    assert all(same(image, images[k % 10]) for k, image in enumerate(images))


def test_the_async_client_loses_none_either(server, shipped_repository, run):
    async def ask_all(launcher: subprocess.Popen[str], urls: list[str]) -> list[Image.Image]:
        room = asyncio.Semaphore(8)
        done = 0

        async def ask(client: AsyncClient, k: int) -> Image.Image:
            nonlocal done
            async with room:
                (image,) = await client.text_to_image(PROMPT, num_inference_steps=4, seed=k % 5)
            done += 1
            if done == 10:
                os.kill(triton(launcher), signal.SIGKILL)
            return image

        async with AsyncClient(urls) as client:
            return await asyncio.gather(*[ask(client, k) for k in range(40)])

    with running(shipped_repository) as (launcher, mortal):
        images = run(ask_all(launcher, [mortal.grpc_url, server.grpc_url]))
    assert all(same(image, images[k % 5]) for k, image in enumerate(images))


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
