"""Images through shared memory: the same ones, and nothing left behind."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import AsyncClient, Client, DeadlineExceeded, InvalidRequest
from triton_diffusion._transports.shared_memory import Region, Regions

from tests.support.launching import launch, wait_until_ready

PROMPT = "a small red circle on the left of a blue background"
SETTINGS = {"num_images": 2, "num_inference_steps": 2, "seed": 7}


def regions() -> set[str]:
    """The shared memory that this process holds; others on the machine have theirs."""
    return set(re.findall(r"/dev/shm/(triton-diffusion-\S+)", Path("/proc/self/maps").read_text()))


def same(one: list[Image.Image], other: list[Image.Image]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))


@pytest.fixture(scope="module")
def sharing_server(shipped_repository):
    """One that lets clients of this machine share their memory."""
    launcher = launch(shipped_repository, "--client-shared-memory")
    try:
        yield wait_until_ready(launcher)
    finally:
        launcher.terminate()
        launcher.wait(timeout=90)


@pytest.fixture
def expected(sharing_server):
    with Client(sharing_server.grpc_url) as client:
        return client.text_to_image(PROMPT, **SETTINGS)


def test_the_images_are_the_same_and_the_memory_is_used_again(sharing_server, expected):
    before = regions()
    with Client(sharing_server.grpc_url, shared_memory="system") as client:
        for _ in range(3):
            images = client.text_to_image(PROMPT, **SETTINGS)
            assert same(images, expected)
            assert [image.info for image in images] == [image.info for image in expected]
        assert len(regions() - before) == 1
        with ThreadPoolExecutor(3) as pool:
            answers = [pool.submit(client.text_to_image, PROMPT, **SETTINGS) for _ in range(9)]
            assert all(same(answer.result(), expected) for answer in answers)
        assert len(regions() - before) <= 3
    assert not regions() - before


def test_the_async_client(sharing_server, expected, run):
    before = regions()

    async def ask() -> list[Image.Image]:
        async with AsyncClient(sharing_server.grpc_url, shared_memory="system") as client:
            return await client.text_to_image(PROMPT, **SETTINGS)

    assert same(run(ask()), expected)
    assert not regions() - before


def test_memory_that_the_server_may_still_write_into_is_not_used_again(sharing_server):
    before = regions()
    with Client(sharing_server.grpc_url, shared_memory="system") as client:
        with pytest.raises(DeadlineExceeded):
            client.text_to_image(PROMPT, num_inference_steps=1000, timeout=0.2)
        assert client.text_to_image(PROMPT, num_inference_steps=1)
        assert len(regions() - before) == 2


def test_a_server_that_was_started_again_is_told_of_the_memory_again(sharing_server, expected):
    with Client(sharing_server.grpc_url, shared_memory="system") as client:
        assert same(client.text_to_image(PROMPT, **SETTINGS), expected)
        transport = client._servers.all[0].transport
        ((_, region),) = transport._regions._idle
        transport._forget(region)
        assert same(client.text_to_image(PROMPT, **SETTINGS), expected)


def test_a_server_on_another_host_sends_the_images(sharing_server, expected, monkeypatch):
    def elsewhere(kind, size):
        region = Region(kind, size)
        region.key = {"key": "/no-such-memory"}
        return region

    monkeypatch.setattr("triton_diffusion._transports.shared_memory.Region", elsewhere)
    before = regions()
    with Client(sharing_server.grpc_url, shared_memory="system") as client:
        with pytest.warns(UserWarning, match="memory is not shared with the server"):
            assert same(client.text_to_image(PROMPT, **SETTINGS), expected)
        assert same(client.text_to_image(PROMPT, **SETTINGS), expected)
    assert not regions() - before


def test_a_server_that_shares_no_memory_sends_the_images(server, expected):
    before = regions()
    with Client(server.grpc_url, shared_memory="system") as client:
        with pytest.warns(UserWarning, match="memory is not shared with the server: .*restricted"):
            assert same(client.text_to_image(PROMPT, **SETTINGS), expected)
        assert same(client.text_to_image(PROMPT, **SETTINGS), expected)
    assert not regions() - before


def test_no_two_calls_have_the_same_memory():
    pool, lent = Regions("system"), set()

    def borrow() -> None:
        with pool.lend(100) as loan:
            assert loan.region.name not in lent
            lent.add(loan.region.name)
            lent.remove(loan.region.name)

    threads = [threading.Thread(target=lambda: [borrow() for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = pool.close()
    assert 1 <= len(taken) <= 4
    for region in taken:
        region.close()


@pytest.mark.parametrize(("kind", "protocol"), [("disk", "grpc"), ("system", "http")])
def test_what_cannot_be_shared(unused_url, kind, protocol):
    with pytest.raises(InvalidRequest, match=r"shared_memory is .*: use ") as refused:
        Client(unused_url, protocol, shared_memory=kind)
    assert refused.value.field == "shared_memory"


@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="skipped: no GPU")
def test_memory_of_a_gpu():
    region = Region("cuda", 2 * 8 * 8 * 3)
    assert len(region.key["raw_handle"]) == 64
    assert region.read([2, 8, 8, 3]).shape == (2, 8, 8, 3)
    region.close()
