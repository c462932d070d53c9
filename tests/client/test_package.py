"""The package as such: its public names, what importing it costs, its two calls side by side."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import triton_diffusion
from triton_diffusion import AsyncClient, Client, MockTransport, Settings, StreamSettings
from triton_diffusion._settings import DATATYPES

CLIENT = Path(__file__).parents[2] / "client"


def test_all_lists_the_public_names():
    public = {name for name, value in vars(triton_diffusion).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert sorted({*public, "__version__"}) == triton_diffusion.__all__


def test_the_docstring_presents_every_public_name():
    assert triton_diffusion.__doc__ is not None
    missing = [name for name in triton_diffusion.__all__ if f"`{name}`" not in triton_diffusion.__doc__]
    assert missing == ["__version__"]


def test_import_is_light():
    code = """
import json, sys, time
start = time.process_time()
import triton_diffusion
print(json.dumps([time.process_time() - start, *sys.modules]))
"""
    environment = os.environ | {"PYTHONPATH": str(CLIENT)}
    runs = []
    for _ in range(3):  # the first reads from the disk
        output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
        seconds, *modules = json.loads(output)
        runs.append(seconds)
    assert not {"torch", "grpc", "httpx2", "tritonclient", "typer", "rich"} & set(modules)
    assert min(runs) < 0.5


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_two_calls_take_every_field_of_their_models(kind):
    one = list(inspect.signature(kind.text_to_image).parameters)
    streamed = list(inspect.signature(kind.stream).parameters)
    assert one == ["self", *[name for name in DATATYPES if name != "preview_interval"], "timeout", "request_id"]
    assert streamed == ["self", *DATATYPES, "timeout", "request_id"]


def test_both_clients_have_the_same_calls():
    def calls(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in vars(kind).items()
            if callable(value) and name[0] != "_"
        }

    assert calls(Client) == calls(AsyncClient)
    assert inspect.signature(Client) == inspect.signature(AsyncClient)


def test_every_public_call_says_what_it_does():
    for kind in (Client, AsyncClient):
        assert all(inspect.getdoc(value) for name, value in vars(kind).items() if callable(value) and name[0] != "_")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_docstrings_of_the_two_calls_list_every_field(kind):
    for call, settings in ((kind.text_to_image, Settings), (kind.stream, StreamSettings)):
        for name in settings.__annotations__:
            assert f"\n- {name}: " in inspect.getdoc(call)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(("call", "name"), [("text_to_image", "preview_interval"), ("stream", "num_step")])
def test_an_argument_that_a_call_does_not_have(kind, call, name, run):
    async def called() -> None:
        result = getattr(kind(transport=MockTransport()), call)("a red circle", **{name: 5})
        if inspect.iscoroutine(result):
            await result

    with pytest.raises(TypeError, match=f"'{name}' is no argument of the call: use any of prompt, negative_prompt, "):
        run(called())
