"""The fields of a request to the gateway, held to the settings of the package."""

import json

import httpx2
import openai
from triton_diffusion import AsyncClient, MockTransport
from triton_diffusion._settings import Settings, StreamSettings, fields_of
from triton_diffusion.gateway._images_request import SCHEMA, parse

PATH = "/v1/images/generations"
VALUES = {"BYTES": "a", "INT32": 7, "INT64": 7, "FP32": 0.5}
SETTINGS = {name: VALUES[field.datatype] for name, field in fields_of(Settings).items() if name != "priority"}


def test_every_setting_but_the_priority_reaches_the_client():
    renamed = {"num_images": "n", "num_inference_steps": "steps"}
    body = {renamed.get(name, name): value for name, value in SETTINGS.items() if name not in ("height", "width")}
    arguments = parse(json.dumps({"prompt": "a", "size": "7x7", **body}).encode()).arguments(7)
    assert arguments == {"prompt": "a", "preview_interval": None, **SETTINGS}
    assert arguments.keys() == {"prompt", *fields_of(StreamSettings)} - {"priority"}


def test_the_schema_has_every_setting_under_its_name_here():
    names = {"n", "steps", "size", *SETTINGS} - {"num_images", "num_inference_steps", "height", "width"}
    assert names < SCHEMA["properties"].keys()
    assert "priority" not in SCHEMA["properties"]


def test_previews_are_spread_over_the_steps_that_the_server_takes():
    request = parse(b'{"prompt": "a", "stream": true, "partial_images": 3}')
    assert [request.arguments(steps)["preview_interval"] for steps in (None, 2, 20, 31)] == [1, 1, 5, 8]


def test_partial_images_are_spread_over_the_steps(mock_gateway):
    sent = []

    class Watching(MockTransport):
        def stream(self, request, deadline):
            sent.append(request.fields["preview_interval"])
            return super().stream(request, deadline)

    address = mock_gateway(AsyncClient(transport=Watching()))
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="any")
    for steps, count, interval in ((20, 3, 5), (None, 1, 10), (3, 2, 1), (2, 3, 1)):
        extra = {} if steps is None else {"steps": steps}
        *partial, completed = client.images.generate(prompt="a", stream=True, partial_images=count, extra_body=extra)
        assert sent.pop() == interval
        assert len(partial) == min(count, (steps or 20) - 1)
        assert {event.size for event in partial} == {completed.size} == {"64x64"}


def test_the_schema_describes_the_fields(mock_gateway):
    schema = httpx2.get(f"{mock_gateway()}/openapi.json").json()
    body = schema["paths"][PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"prompt", "n", "size", "seed", "sampler"} <= set(body["properties"])
