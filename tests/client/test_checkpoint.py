"""The server's description of itself, as clients read it."""

import json

import pytest
from triton_diffusion import Checkpoint, Sampler
from triton_diffusion._checkpoint import read_checkpoint

from tests.support.description import DESCRIBED, DESCRIPTION


@pytest.fixture
def checkpoint() -> Checkpoint:
    found = read_checkpoint({"description": DESCRIPTION})
    assert found is not None
    return found


def test_everything_that_the_server_says_is_there(checkpoint):
    assert checkpoint == Checkpoint(
        name="shapes",
        height=128,
        width=128,
        height_range=(64, 128),
        width_range=(64, 256),
        multiple=8,
        guidance_scale=2.0,
        num_inference_steps=25,
        sampler="pndm",
        timestep_spacing="leading",
        samplers={
            "ddim": Sampler("trailing", ("eta",)),
            "dpmpp_2m": Sampler("karras"),
            "euler_ancestral": Sampler("linspace", ("eta",)),
            "pndm": Sampler("trailing"),
        },
        timestep_spacings=("leading", "trailing", "linspace", "karras"),
        aliases={
            "Euler a": ("euler_ancestral", None),
            "PLMS": ("pndm", None),
            "DPM++ 2M Karras": ("dpmpp_2m", "karras"),
        },
        networks={"denoiser": 16, "vae_decoder": 8},
        limits={
            "num_images": "1 to 8",
            "num_inference_steps": "1 to 1000",
            "eta": "0 to 1",
            "priority": "low, normal, high",
        },
        ranges={"num_images": (1, 8), "num_inference_steps": (1, 1000), "eta": (0.0, 1.0)},
        defaults={"num_images": 1, "priority": "normal"},
    )


@pytest.mark.parametrize(("networks", "models"), [("in-process", 2), ("models", 4), (None, 4)])
def test_networks_are_triton_models_unless_they_are_in_process(networks, models):
    given = {"description": DESCRIPTION} | ({} if networks is None else {"networks": networks})
    found = read_checkpoint(given)
    assert found is not None
    assert found.networks == {"denoiser": 16, "vae_decoder": 8}
    assert len(found.models) == models


@pytest.mark.parametrize("missing", DESCRIBED)
def test_a_description_that_is_incomplete_is_none(missing):
    description = json.dumps({name: value for name, value in DESCRIBED.items() if name != missing})
    assert read_checkpoint({"description": description}) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"defaults": []}'])
def test_any_other_text_is_no_description(text):
    assert read_checkpoint({"description": text}) is None


def test_the_size_of_a_requests_images(checkpoint):
    assert checkpoint.image_bytes({}) == 128 * 128 * 3
    assert checkpoint.image_bytes({"num_images": 2, "width": 64}) == 2 * 128 * 64 * 3
