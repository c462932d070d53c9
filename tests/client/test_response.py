"""What the server sends becomes pictures, events and errors."""

from collections.abc import Generator

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import (
    Completed,
    DeadlineExceeded,
    DiffusionError,
    GenerationFailed,
    InvalidRequest,
    Preview,
    Progress,
    ServerUnavailable,
    save_png,
)
from triton_diffusion._response import Outputs, error_from_status, error_in_stream, events, pictures

FIELDS = {"prompt": "a red circle, 圆 é", "num_images": 2, "guidance_scale": 7.5, "seed": 7, "preview_interval": 2}
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (2, 24, 16, 3), dtype=np.uint8)  # [N,H,W,3]
PREVIEW = RNG.integers(0, 256, (2, 3, 2, 3), dtype=np.uint8)
SEED = np.array([7, 8])


def step(number: int, **outputs: np.ndarray) -> Outputs:
    return {"step": np.int32([number]), "num_steps": np.int32([3]), "seed": SEED, **outputs}


def test_pictures():
    images = pictures({"image": IMAGE, "seed": SEED}, FIELDS)
    assert [image.mode for image in images] == ["RGB", "RGB"]
    np.testing.assert_array_equal(np.stack(images), IMAGE)
    # No num_images: with its own seed, each of the two is made again alone.
    settings = {"prompt": FIELDS["prompt"], "guidance_scale": 7.5}
    assert [image.info for image in images] == [{**settings, "seed": 7}, {**settings, "seed": 8}]


def test_events():
    def responses() -> Generator[Outputs]:
        yield from (step(1), step(2, preview=PREVIEW), step(3), step(3, image=IMAGE))

    first, second, preview, third, completed = events(responses(), FIELDS)
    assert [first, second, third] == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]
    assert isinstance(preview, Preview)
    assert (preview.step, preview.num_steps) == (2, 3)
    np.testing.assert_array_equal(np.stack(preview.images), PREVIEW)
    assert completed == Completed(pictures({"image": IMAGE, "seed": SEED}, FIELDS))


def test_closing_the_events_closes_the_responses():
    closed = []

    def responses() -> Generator[Outputs]:
        try:
            yield step(1)
            yield step(2)
        finally:
            closed.append(True)

    iterator = events(responses(), FIELDS)
    assert next(iterator) == Progress(1, 3)
    iterator.close()
    assert closed


def test_a_stream_without_a_picture_is_an_error():
    with pytest.raises(GenerationFailed, match="without a picture"):
        list(events((response for response in [step(1)]), FIELDS))


def test_a_missing_output_is_an_error():
    with pytest.raises(GenerationFailed, match="no output 'seed'"):
        pictures({"image": IMAGE}, FIELDS)


def test_png_keeps_the_settings(tmp_path):
    for number, image in enumerate(pictures({"image": IMAGE, "seed": SEED}, FIELDS)):
        save_png(image, tmp_path / "out.png")
        with Image.open(tmp_path / "out.png") as read:
            np.testing.assert_array_equal(np.asarray(read), IMAGE[number])
            assert read.info == {"prompt": FIELDS["prompt"], "guidance_scale": "7.5", "seed": str(7 + number)}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["INVALID_ARGUMENT", "400"], InvalidRequest),
        (["UNAVAILABLE", "NOT_FOUND", "404", "405", "502", "503"], ServerUnavailable),
        (["DEADLINE_EXCEEDED", "504"], DeadlineExceeded),
        (["INTERNAL", "CANCELLED", "UNKNOWN", "500", "501"], GenerationFailed),
    ],
)
def test_error_for_a_status(statuses, expected):
    for status in statuses:
        error = error_from_status(status, "the reason", "localhost:8001")
        assert type(error) is expected
        assert isinstance(error, DiffusionError)
        assert str(error).endswith("the reason")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("height is 100; it must be a multiple of 8", "height"),
        ("negative_prompt: longer than 4096 bytes", "negative_prompt"),
        ("sampler is 'my seed and prompt'; allowed are ddpm, ddim", "sampler"),
        ("[request id: 1] inference input 'eta' data-type is 'INT32', but should be 'FP32'", "eta"),
        ("something else", None),
    ],
)
def test_the_field_is_read_from_the_message(message, field):
    error = error_from_status("INVALID_ARGUMENT", message, "localhost:8001")
    assert isinstance(error, InvalidRequest)
    assert (str(error), error.field) == (message, field)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("height is 100: this server's engines take 128", InvalidRequest),
        ("Request for unknown model: 'diffusion' is not found", ServerUnavailable),
        ("unet failed at height 100", GenerationFailed),
    ],
)
def test_an_error_in_a_stream_has_no_status(message, expected):
    error = error_in_stream(message, "localhost:8001")
    assert type(error) is expected
    assert str(error).endswith(message)
