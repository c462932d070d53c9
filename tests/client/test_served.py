"""The client against the real server, with the checkpoint that ships with the project."""

import math
import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import Client, Completed, DeadlineExceeded, InvalidRequest, Preview, Progress, ServerUnavailable
from triton_diffusion.cli import app
from typer.testing import CliRunner

PROMPT = "a small red circle on the left of a blue background"
LONG = 1000  # steps: many seconds, for what must end before them
CLIENT = Path(__file__).parents[2] / "client"


@pytest.fixture(scope="module")
def client(server):
    with Client(server.grpc_url) as client:
        yield client


@pytest.fixture(scope="module")
def http_client(server):
    with Client(server.http_url, "http") as client:
        yield client


def steps_until_idle(server) -> float:
    """UNet calls that the server has made once no request is left in it."""
    while server.metric("diffusion_requests_in_flight"):
        time.sleep(0.05)
    return server.metric("diffusion_unet_steps_total")


def same(one: list[Image.Image], other: list[Image.Image]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))


def test_both_protocols_give_the_same_picture(client, http_client):
    settings = {"negative_prompt": "green", "num_inference_steps": 4, "guidance_scale": 3.5, "sampler": "ddim"}
    settings |= {"timestep_spacing": "leading", "eta": 0.5, "seed": 7}
    (one,), (other,) = client.text_to_image(PROMPT, **settings), http_client.text_to_image(PROMPT, **settings)
    assert one.mode == "RGB"
    assert same([one], [other])
    assert one.info == other.info == {"prompt": PROMPT, **settings}
    (same_size,) = client.text_to_image(PROMPT, **settings, height=one.height, width=one.width)
    assert same([one], [same_size])


@pytest.mark.parametrize("name", ["client", "http_client"])
def test_each_picture_carries_its_own_seed(name, request):
    client = request.getfixturevalue(name)
    images = client.text_to_image(PROMPT, num_images=3, num_inference_steps=2, seed=7)
    assert [image.info["seed"] for image in images] == [7, 8, 9]
    assert not same(images[:1], images[1:2])
    (again,) = client.text_to_image(PROMPT, num_inference_steps=2, seed=8)
    np.testing.assert_allclose(np.asarray(again, int), np.asarray(images[1], int), atol=2)


def test_a_drawn_seed_makes_the_picture_again(client):
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


def test_closing_the_iterator_stops_the_server(server, client):
    steps, threads = steps_until_idle(server), threading.active_count()
    for _ in range(3):
        with closing(client.stream(PROMPT, num_inference_steps=LONG)) as events:
            assert isinstance(next(events), Progress)
    assert steps_until_idle(server) - steps < LONG
    assert threading.active_count() == threads
    assert client.text_to_image(PROMPT, num_inference_steps=2)


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
        ("sampler", "euler"),
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
        assert "\n" not in str(refused.value)


def test_timeout(client, http_client):
    with pytest.raises(DeadlineExceeded):
        client.text_to_image(PROMPT, num_inference_steps=LONG, timeout=0.2)
    with pytest.raises(DeadlineExceeded):
        list(client.stream(PROMPT, num_inference_steps=LONG, timeout=0.2))
    with pytest.raises(DeadlineExceeded):
        http_client.text_to_image(PROMPT, num_inference_steps=100, timeout=0.2)  # fewer: the server finishes them


def test_the_wrong_port(server):
    for url, protocol in ((server.http_url, "grpc"), (server.grpc_url, "http")):
        with Client(url, protocol) as client, pytest.raises(ServerUnavailable):
            client.text_to_image(PROMPT)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_command_writes_what_the_call_returns(server, client, protocol, tmp_path):
    url = {"grpc": server.grpc_url, "http": server.http_url}[protocol]
    options = ["--steps", "4", "--seed", "7", "--negative", "green", "--guidance", "3.5", "--sampler", "ddim"]
    options += ["--spacing", "leading", "--eta", "0.5", "--url", url, "--protocol", protocol, "--timeout", "60"]
    result = CliRunner().invoke(app, ["generate", PROMPT, "-o", str(tmp_path / "out.png"), *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / 'out.png'}  seed 7\n")
    assert result.stderr == ""  # no progress bar: it is not a terminal
    settings = {"negative_prompt": "green", "num_inference_steps": 4, "guidance_scale": 3.5, "sampler": "ddim"}
    settings |= {"timestep_spacing": "leading", "eta": 0.5, "seed": 7}
    with Image.open(tmp_path / "out.png") as written:
        assert same([written], client.text_to_image(PROMPT, **settings))
        assert written.info == {"prompt": PROMPT, **{name: str(value) for name, value in settings.items()}}


def test_the_command_numbers_several_pictures(server, tmp_path):
    options = ["--num-images", "2", "--steps", "2", "--seed", "7", "--url", server.grpc_url]
    result = CliRunner().invoke(app, ["generate", PROMPT, "-o", str(tmp_path / "out.png"), *options])
    assert result.exit_code == 0, result.output
    for number in range(2):
        with Image.open(tmp_path / f"out-{number}.png") as written:
            assert written.info["seed"] == str(7 + number)


@pytest.mark.parametrize(("options", "code"), [(["--steps", "0"], 2), (["--steps", "1000", "--timeout", "0.2"], 4)])
def test_the_commands_errors(server, tmp_path, options, code):
    arguments = ["generate", PROMPT, "-o", str(tmp_path / "out.png"), "--url", server.grpc_url, *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert result.stderr.startswith("triton-diffusion: ")
    assert result.stderr.count("\n") == 1


def test_interrupting_the_command(server, tmp_path):
    code = """
import os, signal, threading
from triton_diffusion import Client, cli

class Interrupted(Client):
    def stream(self, *arguments, **settings):
        events = super().stream(*arguments, **settings)
        yield next(events)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        yield from events

signal.signal(signal.SIGINT, signal.default_int_handler)
cli.Client = Interrupted
cli.app()
"""
    command = [sys.executable, "-c", code, "generate", PROMPT, "--steps", str(LONG), "--url", server.grpc_url]
    environment = os.environ | {"PYTHONPATH": str(CLIENT)}
    steps = steps_until_idle(server)
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (130, "triton-diffusion: interrupted\n")
    assert list(tmp_path.iterdir()) == []
    assert steps_until_idle(server) - steps < LONG
