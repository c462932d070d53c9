"""`triton-diffusion models` without a server: its description, for readers and in JSON."""

import json

import pytest
from triton_diffusion import MockTransport
from triton_diffusion._checkpoint import read_checkpoint
from triton_diffusion.cli import app, server
from triton_diffusion.cli._described import described
from typer.testing import CliRunner

from tests.support.description import DESCRIPTION

TEXT = """\
checkpoint shapes: 64 to 256 x 64 to 128 pixels in multiples of 8, by default 128x128, 25 steps of
    pndm (leading), at guidance 2
sampler ddim: trailing and eta
sampler dpmpp_2m: karras; also DPM++ 2M Karras (karras)
sampler euler_ancestral: linspace and eta; also Euler a
sampler pndm: trailing; also PLMS
timestep spacings: leading, trailing, linspace, karras
num_images: 1 to 8, by default 1
num_inference_steps: 1 to 1000
eta: 0 to 1
priority: low, normal, high, by default normal
samples in one call, at most: 16 of denoiser, 8 of vae_decoder"""


def test_the_description_for_readers():
    checkpoint = read_checkpoint({"description": DESCRIPTION})
    assert checkpoint is not None
    assert described(checkpoint) == TEXT


@pytest.fixture
def models(monkeypatch):
    """Runs the command with a mock in place of the server."""
    real = server.Client
    monkeypatch.setattr(server, "Client", lambda *args, **kwargs: real(transport=MockTransport()))
    return lambda *options: CliRunner().invoke(app, ["models", *options]).stdout


def test_the_networks_are_listed_behind_the_two_models(models):
    lines = models().splitlines()
    names = ["diffusion", "text_to_image", "text_encoder", "denoiser", "vae_decoder"]
    assert [line.split() for line in lines[:5]] == [[name, "1", "ready"] for name in names]
    assert lines[5].startswith("checkpoint mock: 8 to 1024 x 8 to 1024 pixels")


def test_json_has_samplers_and_aliases_too(models):
    found = json.loads(models("--json"))
    assert [model["name"] for model in found["models"]][:2] == ["diffusion", "text_to_image"]
    assert found["checkpoint"]["samplers"]["ddim"] == {"timestep_spacing": "trailing", "options": ["eta"]}
    assert found["checkpoint"].keys() > {"aliases", "timestep_spacings", "networks", "limits", "ranges", "defaults"}
