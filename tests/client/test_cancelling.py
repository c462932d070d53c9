"""Work that nobody waits for any more ends: an iterator closed, a task cancelled, a client closed, a time run out."""

import asyncio
import threading
from contextlib import aclosing, closing

import pytest
from triton_diffusion import AsyncClient, Client, DeadlineExceeded, GenerationFailed, Progress

PROMPT = "a small red circle on the left of a blue background"
LONG = 1000  # steps: many seconds, for what must end before them


def test_closing_the_iterator_stops_the_server(server, client):
    steps, threads = server.steps_until_idle(), threading.active_count()
    for _ in range(3):
        with closing(client.stream(PROMPT, num_inference_steps=LONG)) as events:
            assert isinstance(next(events), Progress)
    assert server.steps_until_idle() - steps < LONG
    assert threading.active_count() == threads
    assert client.text_to_image(PROMPT, num_inference_steps=2)


def test_a_timeout_on_http_stops_the_server(server, http_client, run):
    steps = server.steps_until_idle()
    with pytest.raises(DeadlineExceeded):
        http_client.text_to_image(PROMPT, num_inference_steps=LONG, timeout=0.2)

    async def ask() -> None:
        async with AsyncClient(server.http_url, "http") as client:
            with pytest.raises(DeadlineExceeded):
                await client.text_to_image(PROMPT, num_inference_steps=LONG, timeout=0.2)
            task = asyncio.create_task(client.text_to_image(PROMPT, num_inference_steps=LONG))
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    run(ask())
    assert server.steps_until_idle() - steps < LONG


@pytest.mark.parametrize("call", ["text_to_image", "stream", "abandoned stream"])
def test_cancelling_a_task_stops_the_server(server, run, call):
    steps = server.steps_until_idle()

    async def ask() -> None:
        async with AsyncClient(server.grpc_url) as client:

            async def watch() -> None:
                async with aclosing(client.stream(PROMPT, num_inference_steps=LONG)) as events:
                    async for event in events:
                        if call == "abandoned stream" and isinstance(event, Progress) and event.step:
                            return

            if call == "text_to_image":
                task = asyncio.create_task(client.text_to_image(PROMPT, num_inference_steps=LONG))
            else:
                task = asyncio.create_task(watch())
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() == (call != "abandoned stream")
            assert await client.text_to_image(PROMPT, num_inference_steps=1)

    run(ask())
    assert server.steps_until_idle() - steps < LONG


def test_closing_the_client_ends_its_calls(server, run):
    client = Client(server.grpc_url)
    threading.Timer(0.3, client.close).start()
    with pytest.raises(GenerationFailed):
        client.text_to_image(PROMPT, num_inference_steps=LONG)

    async def ask() -> None:
        client = AsyncClient(server.grpc_url)
        task = asyncio.create_task(client.text_to_image(PROMPT, num_inference_steps=LONG))
        await asyncio.sleep(0.3)
        await client.close()
        with pytest.raises(GenerationFailed, match="closed"):
            await task

    run(ask())
    server.wait_until_idle()
