"""The description of an export, as clients read it from the server."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.loop import FIELDS, SAMPLERS, SPACINGS


@pytest.fixture
def told(repository: Path) -> dict[str, Any]:
    """The parameter `description` of the written repository."""
    text = (repository / "diffusion/config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    return json.loads(config.parameters["description"].string_value)


def test_clients_are_told_the_checkpoint_its_sizes_and_its_defaults(told: dict[str, Any]) -> None:
    names = ("name", "height", "width", "height_range", "width_range", "vae_factor", "defaults", "networks")
    assert {name: told[name] for name in names} == {
        "name": "tiny",
        "height": 64,
        "width": 64,
        "height_range": [24, 80],
        "width_range": [64, 64],
        "vae_factor": 8,
        "defaults": {
            "sampler": "pndm",
            "timestep_spacing": "leading",
            "num_inference_steps": 20,
            "guidance_scale": 7.5,
        },
        "networks": {
            "text_encoder": {"max_batch": 16},
            "denoiser": {"max_batch": 32},
            "vae_decoder": {"max_batch": 8},
        },
    }


def test_clients_are_told_every_sampler_spacing_and_field(told: dict[str, Any]) -> None:
    assert {name: entry["timestep_spacing"] for name, entry in told["samplers"].items()} == {
        name: sampler.timestep_spacing for name, sampler in SAMPLERS.items()
    }
    assert told["timestep_spacings"] == [*SPACINGS]
    assert {name: entry["datatype"] for name, entry in told["fields"].items()} == {f.name: f.datatype for f in FIELDS}
    for sampler, spacing in told["aliases"].values():
        assert sampler in SAMPLERS
        assert spacing is None or spacing in SPACINGS


def test_networks_carry_no_description(repository: Path) -> None:
    for network in ("text_encoder", "denoiser", "vae_decoder"):
        config = text_format.Parse((repository / network / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        assert not config.parameters
