"""Images are kept, found again, and those of the server's own loop."""

import numpy as np
import pytest
from sampling import step_table

from benchmarks.ladder import images
from benchmarks.ladder.engines.loop import Loop, request
from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.images import ImageCache, recipe
from benchmarks.ladder.workspace import Workspace
from export.in_process import InProcess

PROMPTS = ("a red circle", "a green square", "the blue image")


@pytest.fixture
def loop(workspace: Workspace) -> Loop:
    return OnnxEngine().open(workspace)


def asked(loop: Loop, steps: int = 3, first_seed: int = 5) -> list:
    table = step_table(loop.served.noise_schedule, "dpmpp_2m", steps)
    return [request(loop.served, prompt, first_seed + k, table) for k, prompt in enumerate(PROMPTS)]


def test_they_are_the_servers(workspace: Workspace, loop: Loop):
    found = ImageCache(workspace.images, print).images("onnxruntime", lambda: loop, asked(loop))
    with InProcess(workspace.repository()) as generator:
        for k, prompt in enumerate(PROMPTS):
            expected = generator.generate(prompt, seed=5 + k, num_inference_steps=3, sampler="dpmpp_2m").result()[0]
            np.testing.assert_array_equal(found.image[k], expected)
    assert found.latent.shape == (3, 4, 8, 8)


def test_an_interrupted_run_goes_on_where_it_was(workspace: Workspace, loop: Loop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "CHUNK", 1)
    told: list[str] = []
    cache = ImageCache(workspace.images, told.append)
    whole = cache.images("whole", lambda: loop, asked(loop))

    denoiser, calls = loop.networks["denoiser"], []

    def failing(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(inputs)
        if len(calls) == 5:  # in the second image of three steps
            raise KeyboardInterrupt
        return denoiser(**inputs)

    loop.networks["denoiser"] = failing
    with pytest.raises(KeyboardInterrupt):
        cache.images("part", lambda: loop, asked(loop))
    resumed = cache.images("part", lambda: loop, asked(loop))
    assert len(calls) == 5 + 2 * 3  # the first image was there
    np.testing.assert_array_equal(resumed.latent, whole.latent)
    np.testing.assert_array_equal(resumed.image, whole.image)

    told.clear()
    found = cache.images("part", lambda: pytest.fail("nothing needs the engine"), asked(loop))
    np.testing.assert_array_equal(found.latent, whole.latent)
    assert told == []


def test_whatever_changes_the_images_changes_their_name(loop: Loop):
    names = {
        recipe(asked(loop)),
        recipe(asked(loop, steps=4)),
        recipe(asked(loop, first_seed=6)),
        recipe(asked(loop)[:2]),
        recipe(asked(loop)[::-1]),
    }
    assert len(names) == 5
    assert recipe(asked(loop)) in names
