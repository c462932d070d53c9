"""The clients against the real server, with the checkpoint that ships with the project."""

import asyncio
import math
import threading
from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import (
    AsyncClient,
    Checkpoint,
    Client,
    Completed,
    DeadlineExceeded,
    InvalidRequest,
    Preview,
    Progress,
    Queued,
    ServerUnavailable,
    arguments_of,
)

PROMPT = "a small red circle on the left of a blue background"
LONG = 1000  # steps: many seconds, for what must end before them


def same(one: list[Image.Image], other: list[Image.Image]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))


def test_both_protocols_give_the_same_image(client, http_client):
    settings = {"negative_prompt": "green", "num_inference_steps": 4, "guidance_scale": 3.5, "sampler": "ddim"}
    settings |= {"timestep_spacing": "leading", "eta": 0.5, "seed": 7}
    (one,), (other,) = client.text_to_image(PROMPT, **settings), http_client.text_to_image(PROMPT, **settings)
    assert one.mode == "RGB"
    assert same([one], [other])
    assert one.info == other.info
    assert one.info.items() >= {"prompt": PROMPT, **settings, "model_version": "1"}.items()
    assert (one.info["width"], one.info["height"]) == one.size
    (same_size,) = client.text_to_image(PROMPT, **settings, height=one.height, width=one.width)
    assert same([one], [same_size])


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_async_client_gives_the_same(server, client, run, protocol):
    url = {"grpc": server.grpc_url, "http": server.http_url}[protocol]

    async def ask() -> list[list[Image.Image]]:
        async with AsyncClient(url, protocol) as one:
            assert await one.is_ready()
            assert await one.models() == client.models()
            assert await one.checkpoint() == client.checkpoint()
            calls = [one.text_to_image(PROMPT, num_inference_steps=3, seed=seed) for seed in range(4)]
            return await asyncio.gather(*calls)

    for seed, images in enumerate(run(ask())):
        expected = client.text_to_image(PROMPT, num_inference_steps=3, seed=seed)
        assert same(images, expected)
        assert images[0].info == expected[0].info


def test_what_the_server_says_of_itself(client, http_client):
    names = ["diffusion", "text_to_image", "text_encoder", "denoiser", "vae_decoder"]
    for one in (client, http_client):
        assert one.is_ready()
        assert [(model.name, model.ready) for model in one.models()] == [(name, True) for name in names]
        checkpoint = one.checkpoint()
        assert isinstance(checkpoint, Checkpoint)
        assert (checkpoint.height, checkpoint.width_range, checkpoint.multiple) == (128, (128, 128), 8)
    (image,) = client.text_to_image(PROMPT, num_inference_steps=1)
    assert image.info["model"] == checkpoint.name
    assert image.info["guidance_scale"] == checkpoint.guidance_scale


def test_the_settings_of_an_image_make_it_again(client):
    (image,) = client.text_to_image(PROMPT, num_inference_steps=3)
    assert same([image], client.text_to_image(**arguments_of(image.info)))


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, ("dpmpp_2m", "karras")),
        ({"sampler": "euler_a"}, ("euler_ancestral", "normal")),
        ({"sampler": "Euler a Karras"}, ("euler_ancestral", "karras")),
        ({"sampler": "DDIMScheduler", "timestep_spacing": "use_beta_sigmas"}, ("ddim", "beta")),
    ],
)
def test_images_carry_the_servers_names_of_sampler_and_spacing(client, http_client, given, used):
    settings = {"num_inference_steps": 2, "seed": 7, **given}
    *_, completed = client.stream(PROMPT, **settings)
    answers = [one.text_to_image(PROMPT, **settings) for one in (client, http_client)]
    for (image,) in (*answers, completed.images):
        assert (image.info["sampler"], image.info["timestep_spacing"]) == used


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_each_image_carries_its_own_seed(protocol, client, http_client):
    client = {"grpc": client, "http": http_client}[protocol]
    images = client.text_to_image(PROMPT, num_images=3, num_inference_steps=2, seed=7)
    assert [image.info["seed"] for image in images] == [7, 8, 9]
    assert not same(images[:1], images[1:2])
    (again,) = client.text_to_image(PROMPT, num_inference_steps=2, seed=8)
    np.testing.assert_allclose(np.asarray(again, int), np.asarray(images[1], int), atol=2)


def test_a_drawn_seed_makes_the_image_again(client):
    (image,) = client.text_to_image(PROMPT, num_inference_steps=2)
    seed = image.info["seed"]
    assert seed >= 0
    assert same([image], client.text_to_image(PROMPT, num_inference_steps=2, seed=seed))


def test_stream(client):
    settings = {"num_images": 2, "num_inference_steps": 5, "seed": 7}
    *steps, completed = client.stream(PROMPT, **settings)
    assert steps
    assert all(isinstance(event, Progress) and event.num_steps == 5 for event in steps)
    assert [event.step for event in steps] == sorted({event.step for event in steps})
    assert steps[-1].step <= 5
    assert isinstance(completed, Completed)
    assert [image.info["seed"] for image in completed.images] == [7, 8]
    assert same(completed.images, client.text_to_image(PROMPT, **settings))


def test_previews(client):
    settings = {"num_images": 2, "num_inference_steps": 6, "seed": 7}
    events = list(client.stream(PROMPT, **settings, preview_interval=2))
    previews = [event for event in events if isinstance(event, Preview)]
    assert previews
    (completed,) = [event for event in events if isinstance(event, Completed)]
    for preview in previews:
        assert events[events.index(preview) - 1] == Progress(preview.step, 6)
        assert len(preview.images) == 2
        assert preview.images[0].width < completed.images[0].width
    assert same(completed.images, client.text_to_image(PROMPT, **settings))  # looking changes nothing


def test_the_async_stream(server, client, run):
    settings = {"num_inference_steps": 5, "seed": 7, "preview_interval": 2}

    async def ask() -> list:
        async with AsyncClient(server.grpc_url) as one:
            return [event async for event in one.stream(PROMPT, **settings)]

    *events, completed = run(ask())
    assert [event.step for event in events if isinstance(event, Progress)] == list(range(6))
    assert [event.step for event in events if isinstance(event, Preview)] == [2, 4]
    assert same(completed.images, client.text_to_image(PROMPT, num_inference_steps=5, seed=7))


def test_a_step_of_two_denoiser_calls_counts_once(client):
    events = list(client.stream(PROMPT, sampler="heun", num_inference_steps=8, preview_interval=3, seed=7))
    assert [event for event in events if isinstance(event, Progress)] == [Progress(step, 8) for step in range(9)]
    assert [event.step for event in events if isinstance(event, Preview)] == [3, 6]


def test_a_request_that_waits_is_told_its_place(client):
    with closing(client.stream(PROMPT, num_images=8, num_inference_steps=LONG)) as one:
        with closing(client.stream(PROMPT, num_images=8, num_inference_steps=LONG)) as other:
            assert isinstance(next(one), Progress)
            assert isinstance(next(other), Progress)
            last = client.stream(PROMPT, num_images=8, num_inference_steps=LONG)
            assert next(last) == Queued(1)
        with closing(last):
            assert next(event for event in last if isinstance(event, Progress)) == Progress(0, LONG)


def test_many_threads(client, http_client):
    alone = client.text_to_image(PROMPT, num_inference_steps=3, seed=7)
    together: list[list[Image.Image]] = []

    def call(one: Client) -> None:
        together.append(one.text_to_image(PROMPT, num_inference_steps=3, seed=7))

    threads = [threading.Thread(target=call, args=(one,)) for one in [client, http_client] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == 8
    assert all(same(alone, images) for images in together)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("num_images", 0),
        ("height", 7),
        ("width", -8),
        ("num_inference_steps", 0),
        ("guidance_scale", math.nan),
        ("sampler", "leapfrog"),
        ("timestep_spacing", "seed"),
        ("eta", 2),
        ("seed", -1),
    ],
)
def test_the_server_names_the_invalid_field(client, http_client, field, value):
    arguments = {"prompt": PROMPT, field: value}
    for call in (client.text_to_image, http_client.text_to_image, lambda **given: list(client.stream(**given))):
        with pytest.raises(InvalidRequest) as refused:
            call(**arguments)
        assert refused.value.field == field
        assert refused.value.value is value or refused.value.value == value
        assert refused.value.allowed
        assert refused.value.request_id
        assert "\n" not in str(refused.value)


def test_timeout(client, http_client):
    with pytest.raises(DeadlineExceeded):
        client.text_to_image(PROMPT, num_inference_steps=LONG, timeout=0.2)
    with pytest.raises(DeadlineExceeded):
        list(client.stream(PROMPT, num_inference_steps=LONG, timeout=0.2))


def test_the_wrong_port(server):
    for url, protocol in ((server.http_url, "grpc"), (server.grpc_url, "http")):
        with Client(url, protocol, retries=0) as client, pytest.raises(ServerUnavailable):
            client.text_to_image(PROMPT)
