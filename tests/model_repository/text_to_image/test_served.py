"""One request, one response, by HTTP and gRPC: equal to diffusers, and unharmed by what it is sent."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import tritonclient.grpc
import tritonclient.http
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from tritonclient.utils import InferenceServerException

from tests.model_repository.conftest import DTYPES

PROMPT = "a large yellow circle on the right of a black background"


@pytest.fixture(scope="module")
def diffusers_pipeline(shipped_checkpoint):
    pipeline = StableDiffusionPipeline.from_pretrained(shipped_checkpoint, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize(
    ("oracle", "options", "fields"),
    [
        (DDIMScheduler, {}, {"sampler": "ddim", "num_inference_steps": 50}),
        (DPMSolverMultistepScheduler, {}, {"num_inference_steps": 20, "timestep_spacing": "trailing"}),
        (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, {"num_inference_steps": 20}),
        (DDPMScheduler, {}, {"sampler": "ddpm", "num_inference_steps": 100}),
    ],
    ids=["ddim-50", "dpmpp_2m-20", "dpmpp_2m-20-karras", "ddpm-100"],
)
def test_the_served_image_equals_diffusers(diffusers_pipeline, grpc_infer, oracle, options, fields):
    diffusers_pipeline.scheduler = oracle.from_config(diffusers_pipeline.scheduler.config, **options)
    expected = diffusers_pipeline(
        PROMPT,
        negative_prompt="a circle",
        num_inference_steps=fields["num_inference_steps"],
        guidance_scale=2.5,
        generator=torch.Generator("cpu").manual_seed(11),
        output_type="np",
    ).images
    served = grpc_infer(prompt=PROMPT, negative_prompt="a circle", guidance_scale=2.5, seed=11, **fields)
    assert psnr(served, np.rint(expected * 255)) >= 40


def test_http_and_grpc_give_the_same_image(grpc_infer, http_infer):
    fields = {"prompt": PROMPT, "seed": 3, "num_images": 2, "num_inference_steps": 4}
    np.testing.assert_array_equal(grpc_infer(**fields), http_infer(**fields))


def test_many_short_requests_from_eight_threads_are_all_answered(grpc_infer):
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda k: grpc_infer(prompt=PROMPT, seed=k % 4, num_inference_steps=2), range(100)))
    for k, image in enumerate(images):
        np.testing.assert_array_equal(image, images[k % 4])


RANGES = {
    "num_images": [0, -1, 9, 2**31 - 1, -(2**31)],
    "height": [0, -128, 64, 120, 127, 2**31 - 1],
    "width": [0, -128, 64, 120, 127, 2**31 - 1],
    "num_inference_steps": [0, -1, 1001, 2**31 - 1, -(2**31)],
    "guidance_scale": [np.nan, np.inf, -np.inf, -0.01, 50.5, 3e38],
    "eta": [np.nan, np.inf, -0.1, 1.1, 0.5, 0.0],
    "seed": [-1, -(2**63), 2**63 - 1],
    "guidance_rescale": [np.nan, -0.1, 1.1],
    "sampler": ["", "leapfrog", "__import__('os').system('true')", b"\xff\xfe", "x" * 5000],
    "timestep_spacing": ["even", b"\xc3\x28"],
    "priority": ["", "urgent", "HIGH", "0", b"\xff"],
    "prompt": ["", " ", "\n\t", "a" * 4097, b"\xff", b"red \xe2\x28\xa1 circle", b"\xed\xa0\x80"],
    "negative_prompt": ["a" * 4097, b"\xff", b"\xf8\x88\x80\x80\x80"],
}
OUT_OF_RANGE = [(name, value) for name, values in RANGES.items() for value in values]
WRONG_TYPES = {"prompt": "INT32", "num_images": "INT64", "seed": "INT32", "guidance_scale": "FP64", "sampler": "FP32"}
WRONG_SHAPES = list(itertools.product(["prompt", "seed", "height", "eta", "sampler"], [(2,), (1, 1), (0,)]))
NUMPY = {"INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "FP64": np.float64, "BYTES": np.object_}


@pytest.fixture(scope="module", params=["grpc", "http"])
def send(request, server):
    """Send tensors (name, datatype, array) to text_to_image; the error message that it must get."""
    kind = {"grpc": tritonclient.grpc, "http": tritonclient.http}[request.param]
    with kind.InferenceServerClient(server.grpc_url if request.param == "grpc" else server.http_url) as client:

        def infer(tensors):
            inputs = []
            for name, datatype, array in tensors:
                inputs.append(kind.InferInput(name, list(array.shape), datatype))
                inputs[-1].set_data_from_numpy(array)
            with pytest.raises(InferenceServerException) as caught:
                client.infer("text_to_image", inputs)
            assert caught.value.status() in ("StatusCode.INVALID_ARGUMENT", "400")
            return caught.value.message()

        yield infer


def field(name, value):
    datatype = DTYPES.get(name, "INT32")
    if isinstance(value, str | bytes):
        return (name, "BYTES", np.array([value.encode() if isinstance(value, str) else value], object))
    return (name, datatype, np.array([value], NUMPY[datatype]))


def test_malformed_requests_get_their_own_clear_error_and_change_nothing(send, grpc_infer):
    known = grpc_infer(prompt=PROMPT, seed=21, num_inference_steps=5)
    prompt = field("prompt", PROMPT)
    malformed = [([prompt] * (name != "prompt") + [field(name, value)], name) for name, value in OUT_OF_RANGE]
    for name, datatype in WRONG_TYPES.items():
        array = np.ones(1, NUMPY[datatype])
        malformed.append(([prompt] * (name != "prompt") + [(name, datatype, array)], name))
    for name, shape in WRONG_SHAPES:
        _, datatype, array = field(name, PROMPT if name in ("prompt", "sampler") else 1)
        malformed.append(([prompt] * (name != "prompt") + [(name, datatype, np.resize(array, shape))], name))
    malformed.append(([field("seed", 1)], "prompt"))
    malformed += [([prompt, field(name, 1)], name) for name in ("steps", "cfg_scale", "scheduler", "preview_interval")]
    assert len(malformed) >= 80

    for tensors, name in malformed:
        message = send(tensors)
        assert name in message, (tensors, message)
        assert "\n" not in message.strip(), (tensors, message)
        assert "Traceback" not in message
    np.testing.assert_array_equal(grpc_infer(prompt=PROMPT, seed=21, num_inference_steps=5), known)
