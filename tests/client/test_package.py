"""The package as such: its public names, what importing it costs, its two calls side by side."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import triton_diffusion
from triton_diffusion import Client
from triton_diffusion._request import DATATYPES

CLIENT = Path(__file__).parents[2] / "client"


def test_all_lists_the_public_names():
    public = {name for name, value in vars(triton_diffusion).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert sorted(public) == triton_diffusion.__all__


def test_import_is_light():
    code = """
import json, sys
import triton_diffusion
print(json.dumps(list(sys.modules)))
"""
    environment = os.environ | {"PYTHONPATH": str(CLIENT)}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert not {"torch", "grpc", "gevent", "typer", "rich"} & set(json.loads(output))


def test_the_two_calls_take_every_field_of_their_models():
    one = list(inspect.signature(Client.text_to_image).parameters)
    streamed = list(inspect.signature(Client.stream).parameters)
    assert one == ["self", *[name for name in DATATYPES if name != "preview_interval"], "timeout"]
    assert streamed == ["self", *DATATYPES, "timeout"]
