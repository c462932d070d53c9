"""The gateway before the real server, asked by the real `openai` client and by curl."""

import io
import json
import re
import socket
import subprocess
import time
import urllib.request
from base64 import b64decode
from contextlib import closing

import httpx2
import numpy as np
import openai
import pytest
from PIL import Image
from triton_diffusion import Client, read_settings

from tests.support.sockets import keepalive

PROMPT = "a small red circle on the left of a blue background"
LONG = 1000  # steps: many seconds, for what must end before them


@pytest.fixture(scope="module")
def client(gateway, key):
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected(server):
    """The images that the SDK gets for seed 7 and 6 steps."""
    with Client(server.grpc_url) as client:
        return client.text_to_image(PROMPT, seed=7, num_inference_steps=6, num_images=2)


def decoded(b64_json: str) -> Image.Image:
    return Image.open(io.BytesIO(b64decode(b64_json)))


def metric(address: str, name: str, **labels: str) -> float:
    """The sum of a metric of the gateway over its other labels."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as response:
        text = response.read().decode()
    found = re.findall(rf"^diffusion_gateway_{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    return sum(float(value) for given, value in found if all(f'{k}="{v}"' in given for k, v in labels.items()))


def curl(*arguments: str) -> list[str]:
    return ["curl", "--silent", "--show-error", "--no-buffer", "--max-time", "60", *arguments]


def test_the_images_are_those_of_the_sdk(client, expected):
    answer = client.images.generate(prompt=PROMPT, n=2, size="128x128", extra_body={"seed": 7, "steps": 6})
    assert (answer.size, answer.output_format, answer.background) == ("128x128", "png", "opaque")
    for data, image in zip(answer.data, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(decoded(data.b64_json)), np.asarray(image))
        assert data.seed == image.info["seed"]
        settings = read_settings(io.BytesIO(b64decode(data.b64_json)))
        assert settings.items() >= image.info.items()


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_other_formats(client, expected, output_format):
    files = []
    for compression in (90, 10):
        (data,) = client.images.generate(
            prompt=PROMPT,
            output_format=output_format,
            output_compression=compression,
            response_format="b64_json",
            extra_body={"seed": 7, "steps": 6},
        ).data
        files.append(b64decode(data.b64_json))
    assert len(files[1]) < len(files[0])
    image = Image.open(io.BytesIO(files[0]))
    assert image.format == output_format.upper()
    assert np.abs(np.asarray(image, float) - np.asarray(expected[0], float)).mean() < 4


def test_a_stream(client, expected):
    events = list(
        client.images.generate(
            prompt=PROMPT, size="auto", stream=True, partial_images=2, extra_body={"seed": 7, "steps": 6}
        )
    )
    assert [event.type.removeprefix("image_generation.") for event in events] == [*["partial_image"] * 2, "completed"]
    *partial, completed = events
    assert [event.partial_image_index for event in partial] == [0, 1]
    assert {event.size for event in events} == {"128x128"}
    assert completed.usage.total_tokens == 0
    assert completed.seed == 7
    images = [np.asarray(decoded(event.b64_json), float) for event in events]
    np.testing.assert_array_equal(images[-1], np.asarray(expected[0]))
    errors = [np.abs(image - images[-1]).mean() for image in images]
    assert errors[0] > errors[1] > 0  # they come nearer


def test_partial_images_of_a_sampler_with_two_calls_a_step_come_at_a_third_and_two_thirds(gateway, key):
    body = {"prompt": PROMPT, "stream": True, "partial_images": 2, "sampler": "heun", "steps": 8}
    answer = httpx2.post(
        f"{gateway}/v1/images/generations", json=body, headers={"authorization": f"Bearer {key}"}, timeout=60
    )
    events = [event for event in answer.text.split("\n\n") if event]
    steps = [f": step {step} of 8" for step in range(9)]
    assert [event for event in events if event.startswith(":")] == steps
    partial = [k for k, event in enumerate(events) if event.startswith("event: image_generation.partial_image")]
    assert [events[k - 1] for k in partial] == [steps[3], steps[6]]


def test_asyncio(gateway, key, expected, run):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key=key) as client:
            stream = await client.images.generate(prompt=PROMPT, stream=True, extra_body={"seed": 7, "steps": 6})
            return [event async for event in stream]

    (completed,) = run(ask())
    np.testing.assert_array_equal(np.asarray(decoded(completed.b64_json)), np.asarray(expected[0]))


def test_every_field_reaches_the_server(client):
    settings = {"negative_prompt": "green", "steps": 3, "guidance_scale": 3.5, "sampler": "ddim"}
    settings |= {"guidance_rescale": 0.5, "timestep_spacing": "leading", "eta": 0.5, "seed": 9}
    (data,) = client.images.generate(prompt=PROMPT, extra_body=settings).data
    settings["num_inference_steps"] = settings.pop("steps")
    assert read_settings(io.BytesIO(b64decode(data.b64_json))).items() >= settings.items()


def test_models(client):
    (model,) = client.models.list()
    assert (model.object, model.owned_by) == ("model", "triton-diffusion")
    assert client.models.retrieve(model.id) == model
    assert client.images.generate(prompt=PROMPT, model=model.id, extra_body={"steps": 1}).data
    with pytest.raises(openai.NotFoundError) as refused:
        client.images.generate(prompt=PROMPT, model="dall-e-2")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert f"use '{model.id}'" in refused.value.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", " "),
        ("n", 0),
        ("size", "100x128"),
        ("size", "128x100"),
        ("steps", 0),
        ("guidance_scale", -1),
        ("sampler", "no_such_sampler"),
        ("timestep_spacing", "seed"),
        ("eta", 2),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_the_field_that_the_server_refuses_is_named(client, field, value, stream):
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(stream=stream, **{"prompt": PROMPT, "extra_body": {field: value}})
    error = refused.value
    assert (error.param, error.code, error.type) == (field, "invalid_value", "invalid_request_error")
    assert error.body["message"].startswith(f"{field} is ")


def test_leaving_a_stream_stops_the_work_within_a_step(server, gateway, key):
    before, cancelled = server.steps_until_idle(), metric(gateway, "generations_total", outcome="cancelled")
    body = {"prompt": PROMPT, "stream": True, "steps": LONG}
    with httpx2.stream(
        "POST", f"{gateway}/v1/images/generations", json=body, headers={"authorization": f"Bearer {key}"}
    ) as response:
        for line in response.iter_lines():
            if line == f": step 10 of {LONG}":
                break
    # One step more; the others happened while the news travelled, on machines with more to do.
    assert server.steps_until_idle() - before <= 10 + 10
    assert metric(gateway, "generations_total", outcome="cancelled") == cancelled + 1
    assert metric(gateway, "in_flight") == 0


def test_closing_openais_stream_stops_the_work(server, gateway, client):
    before, cancelled = server.steps_until_idle(), metric(gateway, "generations_total", outcome="cancelled")
    with closing(client.images.generate(prompt=PROMPT, stream=True, partial_images=3, extra_body={"steps": LONG})):
        pass
    assert server.steps_until_idle() - before < LONG / 4
    assert metric(gateway, "generations_total", outcome="cancelled") == cancelled + 1


def test_hanging_up_while_waiting_for_the_image_stops_the_work(server, gateway, key):
    before, cancelled = server.steps_until_idle(), metric(gateway, "generations_total", outcome="cancelled")
    url, header = f"{gateway}/v1/images/generations", f"Authorization: Bearer {key}"
    process = subprocess.Popen(curl(url, "-H", header, "--json", json.dumps({"prompt": PROMPT, "steps": LONG})))
    while server.metric("diffusion_denoiser_steps_total") < before + 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert server.steps_until_idle() - before < LONG / 4
    assert metric(gateway, "generations_total", outcome="cancelled") == cancelled + 1


def test_a_key_may_have_two_running(gateway, client, other_key):
    running = [client.images.generate(prompt=PROMPT, stream=True, extra_body={"steps": LONG}) for _ in range(2)]
    try:
        with pytest.raises(openai.RateLimitError, match="2 generations are running") as refused:
            client.images.generate(prompt=PROMPT, extra_body={"steps": 1})
        assert refused.value.response.headers["retry-after"] == "1"
        with openai.OpenAI(base_url=f"{gateway}/v1", api_key=other_key, max_retries=0) as other:
            assert other.images.generate(prompt=PROMPT, extra_body={"steps": 1}).data
    finally:
        for stream in running:
            stream.close()
    while metric(gateway, "in_flight"):
        time.sleep(0.05)
    assert client.images.generate(prompt=PROMPT, extra_body={"steps": 1}).data
    assert metric(gateway, "images_total", key="bob") >= 1
    assert metric(gateway, "generations_total", key="alice", outcome="refused") == 1
    assert metric(gateway, "errors_total", code="rate_limit_exceeded") >= 1


def test_curl(gateway, key, expected):
    url, header = f"{gateway}/v1/images/generations", f"Authorization: Bearer {key}"
    body = {"prompt": PROMPT, "seed": 7, "steps": 6}
    answer = subprocess.run(curl(url, "-H", header, "--json", json.dumps(body)), check=True, capture_output=True)
    (data,) = json.loads(answer.stdout)["data"]
    np.testing.assert_array_equal(np.asarray(decoded(data["b64_json"])), np.asarray(expected[0]))

    body |= {"stream": True, "partial_images": 1}
    answer = subprocess.run(curl(url, "-H", header, "--json", json.dumps(body)), check=True, capture_output=True)
    events = answer.stdout.decode().rstrip("\n").split("\n\n")
    assert [event for event in events if event.startswith(":")] == [f": step {step} of 6" for step in range(7)]
    partial, completed = (event.split("\n") for event in events if not event.startswith(":"))
    assert partial[0] == "event: image_generation.partial_image"
    assert json.loads(partial[1].removeprefix("data: "))["type"] == "image_generation.partial_image"
    assert completed[0] == "event: image_generation.completed"
    data = json.loads(completed[1].removeprefix("data: "))
    np.testing.assert_array_equal(np.asarray(decoded(data["b64_json"])), np.asarray(expected[0]))


def test_health(gateway):
    for path in ("healthz", "readyz"):
        assert httpx2.get(f"{gateway}/{path}").status_code == 200


def test_a_caller_that_has_vanished_would_be_noticed(gateway):
    host, port = gateway.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        assert 15 < keepalive(caller.getpeername(), caller.getsockname()) <= 20
