"""A graph that computes something else does not get past the gate."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.checkpoint.components import Checkpoint
from export.errors import GateError
from export.graph.gate import LIMITS, check_graph, check_output, psnr, random_inputs, relative_error
from export.runtime import Precision
from export.specification import Range, Sizes
from tests.support.exports import networks_at


def sabotage(graph: Path, folder: Path, initializer: str, factor: float) -> Path:
    """A copy of `graph` in `folder` with one weight multiplied by `factor`."""
    model = onnx.load(graph)
    (tensor,) = (t for t in model.graph.initializer if t.name == initializer)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), initializer))
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_a_slightly_wrong_graph_is_caught(repository: Path, tiny: Checkpoint, sizes: Sizes, tmp_path: Path) -> None:
    network = tiny.networks(sizes)["text_encoder"]
    module = tiny.load_module(network)
    good = repository / "text_encoder/1/model.onnx"
    check_graph(network, good, module)
    bad = sabotage(good, tmp_path, "text_encoder.final_layer_norm.weight", 1.0005)
    with pytest.raises(GateError, match=r"text_encoder: context \(batch 1\).* measured 0.000\d+ .* at most 0.0001"):
        check_graph(network, bad, module)


def test_a_wrong_image_is_caught(repository: Path, tiny: Checkpoint, sizes: Sizes, tmp_path: Path) -> None:
    network = tiny.networks(sizes)["vae_decoder"]
    module = tiny.load_module(network)
    bad = sabotage(repository / "vae_decoder/1/model.onnx", tmp_path, "vae.decoder.conv_out.weight", 1.1)
    with pytest.raises(GateError, match=r"vae_decoder: image .* dB PSNR, allowed at least 50 dB"):
        check_graph(network, bad, module)


@pytest.mark.parametrize("wrong", [np.float32("nan"), np.float32("inf")])
def test_nan_and_infinity_do_not_pass(wrong: np.float32) -> None:
    reference = np.ones((2, 3), np.float32)
    measured = reference.copy()
    measured[1, 2] = wrong
    with pytest.raises(GateError):
        check_output("denoiser: model_output", reference, measured, LIMITS[Precision.FP32])


@pytest.mark.parametrize("measured", [np.zeros((2, 3), np.float16), np.zeros((2, 4), np.float32)])
def test_another_dtype_or_shape_does_not_pass(measured: np.ndarray) -> None:
    with pytest.raises(GateError, match=r"float32 \(2, 3\) in PyTorch"):
        check_output("denoiser: model_output", np.zeros((2, 3), np.float32), measured, LIMITS[Precision.FP32])


def test_metrics() -> None:
    assert relative_error(np.array([1.0, -4.0]), np.array([1.0, -4.2])) == pytest.approx(0.05)
    black, white = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    assert psnr(black, white) == 0
    assert psnr(black, black) == np.inf
    assert psnr(black, black + np.uint8(1)) == pytest.approx(48.13, abs=0.01)


def test_inputs_meet_mixed_timesteps_and_uneven_sizes() -> None:
    sizes = Sizes(64, 64, Range(24, 80), Range(64, 72), vae_factor=8)
    feeds = list(random_inputs(networks_at(sizes)["denoiser"]))
    assert [feed["sample"].shape for feed in feeds] == [(1, 4, 3, 8), (2, 4, 5, 9), (3, 4, 7, 9)]
    assert len(set(feeds[2]["timestep"])) == 3
    assert all(array.dtype == np.float32 for feed in feeds for array in feed.values())
