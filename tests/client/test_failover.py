"""Servers that die, come back, and stand in for each other."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import AsyncClient, Client, Completed, InvalidRequest, Progress, arguments_of

from tests.support.proxy import running_nginx
from tests.support.replicas import Replica, replicas

PROMPT = "a small red circle on the left of a blue background"
STEPS = 100  # seconds: time to kill a server in
PATIENT = 12  # retries: longer than a server takes to start


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_a_server_killed_and_started_again_amid_requests_loses_no_image(server, shipped_repository):
    settings = {"num_inference_steps": STEPS, "seed": 7}
    with Client(server.grpc_url) as client:
        (expected,) = client.text_to_image(PROMPT, **settings)
    with (
        replicas(shipped_repository, 1) as (mortal,),
        ThreadPoolExecutor() as pool,
        Client(mortal.server.grpc_url, retries=PATIENT) as grpc_client,
        Client(mortal.server.http_url, "http", retries=PATIENT) as http_client,
    ):
        answers = [pool.submit(one.text_to_image, PROMPT, **settings) for one in (grpc_client, http_client)]
        while mortal.server.metric("diffusion_active_samples") < 2:
            time.sleep(0.02)
        mortal.kill()
        assert not any(answer.done() for answer in answers)
        mortal.start()
        images = [answer.result(120)[0] for answer in answers]
        assert mortal.server.metric("diffusion_requests_total") == 2
    assert all(same(image, expected) for image in images)


def test_a_stream_starts_over_on_the_other_server(server, shipped_repository, run):
    steps: list[int] = []

    async def ask(mortal: Replica) -> tuple[Image.Image, Image.Image]:
        async with AsyncClient([mortal.server.grpc_url, server.grpc_url]) as client:
            async for event in client.stream(PROMPT, num_inference_steps=STEPS):
                if isinstance(event, Progress):
                    steps.append(event.step)
                    if steps == list(range(10)):
                        mortal.kill()
            assert isinstance(event, Completed)
            (image,) = await client.text_to_image(**arguments_of(event.images[0].info))
            return image, event.images[0]

    with replicas(shipped_repository, 1) as (mortal,):
        again, streamed = run(ask(mortal))
    assert steps[steps.index(0, 1) :] == list(range(STEPS + 1))
    assert same(again, streamed)


def test_of_two_servers_one_is_killed_and_none_of_200_requests_is_lost(server, shipped_repository, tmp_path):
    with (
        replicas(shipped_repository, 1) as (mortal,),
        running_nginx(tmp_path, [mortal.server, server], "--plain") as proxy,
        Client([mortal.server.grpc_url, server.grpc_url]) as direct,
        Client(proxy.grpc_url) as over_grpc,
        Client(proxy.http_url, "http") as over_http,
    ):
        ways = [direct, over_grpc, over_http]
        done = threading.Semaphore(0)

        def ask(k: int) -> Image.Image:
            (image,) = ways[k % 3].text_to_image(PROMPT, num_inference_steps=4, seed=k % 10)
            done.release()
            return image

        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(ask, k) for k in range(200)]
            for _ in range(50):
                assert done.acquire(timeout=60)
            mortal.kill()
            images = [answer.result(120) for answer in answers]
    assert all(same(image, images[k % 10]) for k, image in enumerate(images))


def test_a_server_stopped_in_good_order_sends_its_requests_to_the_other(server, shipped_repository, tmp_path):
    with (
        (tmp_path / "log").open("w") as log,
        replicas(shipped_repository, 1, log=log) as (mortal,),
        Client([mortal.server.grpc_url, server.grpc_url]) as client,
    ):
        with pytest.raises(InvalidRequest):  # an error in a stream must not keep Triton from ending
            list(client.stream(PROMPT, num_inference_steps=0))

        def ask(k: int) -> Image.Image:
            *_, completed = client.stream(PROMPT, num_inference_steps=10, seed=k % 4)
            assert isinstance(completed, Completed)
            return completed.images[0]

        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(ask, k) for k in range(40)]
            answers[4].result(60)
            mortal.launcher.terminate()
            images = [answer.result(120) for answer in answers]
    assert all(same(image, images[k % 4]) for k, image in enumerate(images))
    assert "Exit timeout expired" not in (tmp_path / "log").read_text()
