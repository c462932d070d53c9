"""The torch runtime on the shipped checkpoint against ONNX Runtime's FP32 graphs: engine by engine, and served."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import numpy as np
import onnxruntime
import pytest
import torch
from triton_diffusion import Client

from export.checkpoint.components import read_checkpoint
from export.families.stable_diffusion.modules import load_module
from export.graph.gate import psnr, random_inputs, relative_error
from export.runtimes.torch.engine import Engine
from export.sizes import choose_sizes
from export.specification import Network
from tests.support.launching import launch, wait_until_ready
from tests.support.shipped import SHIPPED, export_shipped

PROMPT = "a large red circle on the left of a blue background"
MODELS = ("text_encoder", "denoiser", "vae_decoder")
MAX_ERROR = {"fp32": 1e-5, "bf16": 2e-2}
MIN_PSNR = {"fp32": 60, "bf16": 45}

pytestmark = pytest.mark.xdist_group("servers of their own")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped checkpoint for the torch runtime, by precision, uncompiled; to be read only."""
    return {
        precision: export_shipped(
            tmp_path_factory.mktemp(precision), ["--runtime=torch", f"--precision={precision}", "--no-compile"]
        )
        for precision in MAX_ERROR
    }


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Callable:
    """Start a launcher that is gone when the test ends, however it ends."""

    def run(*arguments, **keywords):
        launcher = launch(*arguments, **keywords)
        request.addfinalizer(lambda: launcher.wait(timeout=90))
        request.addfinalizer(launcher.terminate)
        return launcher

    return run


def network_named(name: str) -> Network:
    checkpoint = read_checkpoint(str(SHIPPED))
    return checkpoint.networks(choose_sizes(checkpoint, None, None))[name]


def check_all(graph: onnxruntime.InferenceSession, engine: Engine, name: str, precision: str) -> None:
    """Every output of `engine` against `graph`'s, on the gate's inputs."""
    names = [output.name for output in graph.get_outputs()]
    for feed in random_inputs(network_named(name)):
        measured = engine(**feed)
        assert [*measured] == names
        for output, reference in zip(names, graph.run(names, feed)):
            check_close(reference, measured[output].numpy(), precision)


def check_close(reference: np.ndarray, measured: np.ndarray, precision: str) -> None:
    assert (measured.shape, measured.dtype) == (reference.shape, reference.dtype)
    if measured.dtype == np.uint8:
        assert psnr(reference, measured) >= MIN_PSNR[precision]
    else:
        assert relative_error(reference, measured) <= MAX_ERROR[precision]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", MAX_ERROR)
def test_eager(shipped_repository: Path, repositories: dict[str, Path], name: str, precision: str) -> None:
    graph = onnxruntime.InferenceSession(shipped_repository / name / "1/model.onnx")
    weights = repositories[precision] / name / "1/weights"
    engine = Engine(load_module(name, weights, precision), torch.device("cpu"))
    check_all(graph, engine, name, precision)


@pytest.mark.parametrize("networks", ["in-process", "models"])
def test_a_served_image(server, repositories: dict[str, Path], start: Callable, networks: str) -> None:
    served = wait_until_ready(start(repositories["fp32"], f"--networks={networks}"))
    with Client(server.grpc_url) as onnx, Client(served.grpc_url) as client:
        references = onnx.text_to_image(PROMPT, seed=7, num_images=2, num_inference_steps=10)
        images = client.text_to_image(PROMPT, seed=7, num_images=2, num_inference_steps=10)
        (alone,) = client.text_to_image(PROMPT, seed=8, num_inference_steps=10)
    for reference, image in zip(references, images):
        assert psnr(np.asarray(reference), np.asarray(image)) >= 40
    # PyTorch's kernels differ by batch, so an image among others is not the same bit for bit.
    assert psnr(np.asarray(images[1]), np.asarray(alone)) >= 50


def test_a_server_that_lacks_a_package_says_so_in_one_line(
    repositories: dict[str, Path], start: Callable, tmp_path: Path
) -> None:
    repository = shutil.copytree(repositories["fp32"], tmp_path / "model_repository")
    for name in MODELS:
        (repository / name / "1/modules.py").write_text("import no_such_package\n")
    launcher = start(repository, stderr=PIPE)
    _, message = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert message.count("\n") == 1
    assert "No module named 'no_such_package'" in message
    assert "pip install -r requirements/torch.txt" in message


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_compiled(
    shipped_repository: Path, repositories: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About two minutes."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    graph = onnxruntime.InferenceSession(shipped_repository / name / "1/model.onnx")
    engine = Engine(load_module(name, repositories["fp32"] / name / "1/weights", "fp32"), torch.device("cpu"))
    feed = next(random_inputs(network_named(name)))
    rows = {key: torch.from_numpy(array[0]) if array.ndim > 1 else torch.zeros(()) for key, array in feed.items()}
    engine.compile(rows, [1, 2])
    check_all(graph, engine, name, "fp32")


@pytest.mark.slow
def test_a_compiled_server_starts_again_from_its_cache(
    server, start: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes for the first start."""
    repository = export_shipped(tmp_path, ["--runtime=torch", "--batches=1,2"])
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)  # which PyTorch in this process may have set
    seconds, images = [], []
    for _ in range(2):
        started = time.monotonic()
        launcher = start(repository, "--ready-timeout=900")
        served = wait_until_ready(launcher)
        seconds.append(time.monotonic() - started)
        with Client(served.grpc_url) as client:
            images.append(np.asarray(client.text_to_image(PROMPT, seed=7)[0]))
        launcher.terminate()
        launcher.wait(timeout=90)
    with Client(server.grpc_url) as client:
        (reference,) = client.text_to_image(PROMPT, seed=7)
    print(f"\nstart: {seconds[0]:.0f} s, again: {seconds[1]:.0f} s")
    assert [*repository.glob("*/1/compiled")]
    assert seconds[1] < seconds[0] / 2
    np.testing.assert_array_equal(images[0], images[1])
    assert psnr(np.asarray(reference), images[0]) >= 40
