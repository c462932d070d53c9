"""The settings of an image: complete, and kept in its file."""

import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from triton_diffusion import Client, InvalidRequest, MockTransport, arguments_of, read_settings, save_png
from triton_diffusion import _metadata as settings
from triton_diffusion._checkpoint import read_checkpoint
from triton_diffusion._request import Request, new_request
from triton_diffusion._response import Answer
from triton_diffusion._version import __version__

from tests.support.description import DESCRIPTION

GIVEN = {
    "prompt": "a red circle, 圆 é",
    "negative_prompt": 'green: "blue", grey',
    "height": 64,
    "width": 96,
    "num_inference_steps": 12,
    "guidance_scale": 3.5,
    "guidance_rescale": 0.25,
    "sampler": "ddim",
    "timestep_spacing": "leading",
    "eta": 0.5,
    "seed": 2**40,
}


@pytest.fixture
def image() -> Image.Image:
    with Client(transport=MockTransport()) as client:
        (image,) = client.text_to_image(**GIVEN)
    return image


def test_what_was_not_given_is_filled_in():
    request = new_request("diffusion", {"prompt": "a", "seed": 7})
    answer = Answer({"sampler": np.array(["pndm"]), "timestep_spacing": np.array(["leading"])}, "1")
    assert settings.settings_used(request, read_checkpoint({"description": DESCRIPTION}), answer) == {
        "prompt": "a",
        "negative_prompt": "",
        "sampler": "pndm",
        "timestep_spacing": "leading",
        "num_inference_steps": 25,
        "guidance_scale": 2.0,
        "seed": 7,
        "model": "shapes",
        "model_version": "1",
    }


def test_the_servers_names_of_sampler_and_spacing_go_before_those_that_were_sent():
    request = new_request("diffusion", {"prompt": "a", "sampler": "euler a", "timestep_spacing": "KARRAS"})
    answer = Answer({"sampler": np.array(["euler_ancestral"]), "timestep_spacing": np.array(["karras"])}, "1")
    used = settings.settings_used(request, None, answer)
    assert (used["sampler"], used["timestep_spacing"]) == ("euler_ancestral", "karras")


def test_a_server_that_does_not_describe_itself():
    used = settings.settings_used(Request("diffusion", {"prompt": "a"}, "0123"), None, Answer({}, "3"))
    assert "guidance_scale" not in used
    assert (used["model"], used["model_version"]) == ("diffusion", "3")


def test_of_several_images_each_is_described_alone():
    with Client(transport=MockTransport()) as client:
        images = client.text_to_image("a", num_images=2, seed=7)
    assert [image.info["seed"] for image in images] == [7, 8]
    assert all("num_images" not in image.info for image in images)


def test_a_file_gives_back_the_image_and_its_settings(image, tmp_path):
    save_png(image, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(image))
    found = read_settings(tmp_path / "out.png")
    assert found == {**image.info, "software": f"triton-diffusion {__version__}"}
    assert arguments_of(found) == GIVEN


def test_the_chunks_are_json_and_automatic1111s_text(image, tmp_path):
    save_png(image, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as read:
        texts = read.info
    assert json.loads(texts["triton_diffusion"])["sampler"] == "ddim"
    assert texts["parameters"] == (
        "a red circle, 圆 é\n"
        'Negative prompt: green: "blue", grey\n'
        "Steps: 12, Sampler: DDIM, Schedule type: Leading, CFG scale: 3.5, Seed: 1099511627776, Size: 96x64, "
        f"Model: mock, Eta: 0.5, guidance_rescale: 0.25, Version: triton-diffusion {__version__}"
    )


def write(path, **texts: str) -> None:
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)


def test_automatic1111s_text_alone_is_enough(image, tmp_path):
    save_png(image, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as read:
        write(tmp_path / "theirs.png", parameters=read.info["parameters"])
    assert arguments_of(read_settings(tmp_path / "theirs.png")) == GIVEN


def test_an_image_of_automatic1111(tmp_path):
    text = (
        "a castle,\nin the fog\nNegative prompt: people\nblurry\n"
        "Steps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 5, Size: 512x768, Model hash: 6ce0161689, "
        'Model: v1-5-pruned, Lora hashes: "a: 1, b: 2", Version: v1.6.0'
    )
    write(tmp_path / "theirs.png", parameters=text)
    assert read_settings(tmp_path / "theirs.png") == {
        "prompt": "a castle,\nin the fog",
        "negative_prompt": "people\nblurry",
        "sampler": "dpmpp_2m",
        "timestep_spacing": "karras",
        "num_inference_steps": 25,
        "guidance_scale": 7.0,
        "seed": 5,
        "width": 512,
        "height": 768,
        "model": "v1-5-pruned",
    }


def test_a_sampler_that_is_not_ours_is_left_for_the_server_to_refuse(tmp_path):
    write(tmp_path / "theirs.png", parameters="a\nSteps: x, Sampler: Restart, CFG scale: 7")
    assert read_settings(tmp_path / "theirs.png") == {
        "prompt": "a",
        "negative_prompt": "",
        "sampler": "Restart",
        "guidance_scale": 7.0,
    }


@pytest.mark.parametrize("texts", [{}, {"parameters": "a poem"}, {"triton_diffusion": "{"}, {"triton_diffusion": "[]"}])
def test_an_image_without_settings(tmp_path, texts):
    write(tmp_path / "out.png", **texts)
    with pytest.raises(InvalidRequest, match=r"out\.png has no settings in it"):
        read_settings(tmp_path / "out.png")


def test_no_image(tmp_path):
    (tmp_path / "out.png").write_text("text")
    with pytest.raises(OSError, match="cannot identify"):
        read_settings(tmp_path / "out.png")
