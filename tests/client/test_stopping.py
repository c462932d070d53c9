"""A server of its own that clients have asked for what it refuses: it must be able to stop."""

import asyncio
import time
from contextlib import suppress

import pytest
from triton_diffusion import AsyncClient, Client, InvalidRequest

from tests.support.launching import launch, wait_until_ready


def test_refused_streams_do_not_keep_the_server_from_stopping(shipped_repository):
    launcher = launch(shipped_repository)
    try:
        url = wait_until_ready(launcher).grpc_url
        with Client(url) as client:
            for _ in range(40):
                with pytest.raises(InvalidRequest):
                    list(client.stream("a red circle", num_inference_steps=0))
        asyncio.run(refused(url, 40))
    finally:
        start = time.monotonic()
        launcher.terminate()
        launcher.wait(timeout=90)
    assert time.monotonic() - start < 20  # where a request is left in it, Triton gives up after 30 s


async def refused(url: str, count: int) -> None:
    async with AsyncClient(url) as client:
        for _ in range(count):
            with suppress(InvalidRequest):
                async for _ in client.stream("a red circle", num_inference_steps=0):
                    pass
