"""Responses of the server become images and events."""

import numpy as np
import pytest
from triton_diffusion import GenerationFailed, Preview, Progress, Queued
from triton_diffusion._response import Outputs, images_of, progress_events, tensor

SETTINGS = {"prompt": "a red circle, 圆 é", "guidance_scale": 7.5}
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (2, 24, 16, 3), dtype=np.uint8)  # [N,H,W,3]
PREVIEW = RNG.integers(0, 256, (2, 3, 2, 3), dtype=np.uint8)
SEED = np.array([7, 8])


def step(number: int, **outputs: np.ndarray) -> Outputs:
    return {"step": np.int32([number]), "num_steps": np.int32([3]), "seed": SEED, **outputs}


def test_images():
    images = images_of({"image": IMAGE, "seed": SEED}, SETTINGS)
    assert [image.mode for image in images] == ["RGB", "RGB"]
    np.testing.assert_array_equal(np.stack(images), IMAGE)
    size = {"width": 16, "height": 24}
    assert [image.info for image in images] == [{**SETTINGS, "seed": seed, **size} for seed in (7, 8)]


def test_events():
    assert list(progress_events(step(0, queue_position=np.int32([3])))) == [Queued(3)]
    assert list(progress_events(step(1))) == [Progress(1, 3)]
    progress, preview = progress_events(step(2, preview=PREVIEW))
    assert progress == Progress(2, 3)
    assert isinstance(preview, Preview)
    assert (preview.step, preview.num_steps) == (2, 3)
    np.testing.assert_array_equal(np.stack(preview.images), PREVIEW)


@pytest.mark.parametrize("outputs", [{"image": IMAGE}, {"seed": SEED}])
def test_a_missing_output_is_an_error(outputs):
    with pytest.raises(GenerationFailed, match=r"no output '(seed|image)'"):
        images_of(outputs, SETTINGS)


def test_tensors():
    for array in (IMAGE, SEED, np.int32([3])):
        read = tensor(str(array.dtype).upper(), array.shape, array.tobytes())
        assert read is not None
        np.testing.assert_array_equal(read, array)
    names = tensor("BYTES", [2], b"\x03\0\0\0abc\x02\0\0\0" + "é".encode())
    assert names is not None
    assert names.tolist() == ["abc", "é"]
    assert tensor("FP64", [1], bytes(8)) is None
