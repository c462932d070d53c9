"""Clients without a server, as a program's own tests use them: both see the same."""

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import AsyncClient, Client, Completed, GenerationFailed, MockTransport, Preview, Progress


@pytest.fixture(params=["sync", "async"])
def ask(request, run):
    """Make one call through `Client` or `AsyncClient` with the transport given: what it returns or yields."""

    def sync(transport, call, *arguments, **settings):
        with Client(transport=transport) as client:
            result = getattr(client, call)(*arguments, **settings)
            return list(result) if call == "stream" else result

    async def asynchronous(transport, call, *arguments, **settings):
        async with AsyncClient(transport=transport) as client:
            result = getattr(client, call)(*arguments, **settings)
            return [event async for event in result] if call == "stream" else await result

    return sync if request.param == "sync" else lambda *args, **kwargs: run(asynchronous(*args, **kwargs))


def test_the_image_depends_on_the_seed(ask):
    one, other = ask(MockTransport(), "text_to_image", "a", seed=7, num_images=2)
    (again,) = ask(MockTransport(), "text_to_image", "a", seed=8, width=64, height=64)
    assert one != other
    np.testing.assert_array_equal(np.asarray(again), np.asarray(other))
    assert (again.info["prompt"], again.info["seed"]) == ("a", 8)


def test_the_handler_makes_the_image_of_what_was_sent(ask):
    sent = []

    def handler(fields):
        sent.append(dict(fields))
        return Image.new("RGB", (16, 8), "red")

    (image,) = ask(MockTransport(handler), "text_to_image", "a", seed=7, guidance_scale=2)
    assert sent == [{"prompt": "a", "seed": 7, "guidance_scale": 2.0}]
    assert (image.size, image.getpixel((0, 0))) == ((16, 8), (255, 0, 0))


def test_what_the_handler_raises_is_raised(ask):
    def handler(fields):
        raise GenerationFailed("out of memory")

    for call in ("text_to_image", "stream"):
        with pytest.raises(GenerationFailed, match="out of memory"):
            ask(MockTransport(handler), call, "a")


def test_a_stream(ask):
    *events, last = ask(MockTransport(), "stream", "a", num_inference_steps=3, preview_interval=2)
    assert [event for event in events if isinstance(event, Progress)] == [Progress(step, 3) for step in range(4)]
    (preview,) = [event for event in events if isinstance(event, Preview)]
    assert (preview.step, preview.images[0].size) == (2, (8, 8))
    assert isinstance(last, Completed)
    assert last.images[0].size == (64, 64)


def test_what_it_says_of_itself(ask):
    assert ask(MockTransport(), "is_ready")
    assert ask(MockTransport(), "checkpoint").name == "mock"
    assert {"diffusion", "text_to_image"} < {model.name for model in ask(MockTransport(), "models")}
