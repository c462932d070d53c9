"""The HTML of the stage and of the history."""

import io
from base64 import b64decode

import pytest
from PIL import Image
from triton_diffusion import Client, MockTransport, read_settings
from triton_diffusion.web import view
from triton_diffusion.web.run import Run, State

SCRIPT = "<script>alert(1)</script>"


def finished(prompt: str, **options: int) -> Run:
    with Client(transport=MockTransport()) as client:
        (image,) = client.text_to_image(prompt, seed=7, **options)
    return Run({}, State.DONE, step=4, num_steps=4, image=image, first_step=0.1, last_step=0.3, seconds=0.456)


def test_an_image_carries_its_settings(tmp_path):
    result = view.result(finished("a circle"))
    (tmp_path / "a.png").write_bytes(b64decode(result.png.partition(",")[2]))
    settings = read_settings(tmp_path / "a.png")
    assert (settings["prompt"], settings["seed"]) == ("a circle", 7)
    assert result.png in view.of_result(result)
    assert "0.46 s" in view.of_result(result)
    assert "4 steps of 50 ms" in view.of_result(result)


def test_thumbnails_are_small():
    result = view.result(finished("a circle", width=512, height=256))
    assert Image.open(io.BytesIO(b64decode(result.thumbnail.partition(",")[2]))).size == (128, 64)


@pytest.mark.parametrize(
    "html",
    [
        view.of_result(view.result(finished(SCRIPT))),
        view.grid([view.result(finished('"' + SCRIPT))]),
        view.of_run(Run({}, State.FAILED, error=SCRIPT)),
        view.failure(SCRIPT),
    ],
)
def test_text_is_never_markup(html):
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("made", "caption"),
    [
        (Run({}), "Waiting"),
        (Run({}, position=3), "Waiting, place 3 on the server"),
        (Run({}, State.RUNNING, step=3, num_steps=20), "Step 3 of 20"),
        (Run({}, State.CANCELLED, step=3, num_steps=20), "Cancelled after 3 of 20 steps"),
        (Run({}, State.CANCELLED), "Cancelled"),
        (Run({}, State.FAILED, error="seed is -1"), "seed is -1"),
    ],
)
def test_the_caption_says_where_it_is(made, caption):
    assert f">{caption}</div>" in view.of_run(made)
