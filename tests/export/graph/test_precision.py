"""FP16 where it does not show, FP32 where it would, and images that look the same."""

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto
from triton_diffusion import Client

from export.checkpoint.components import Checkpoint
from export.errors import GateError
from export.graph.gate import check_graph, psnr
from export.graph.graphs import write_graph
from export.graph.precision import epilogue, prologue
from export.in_process import InProcess
from export.runtime import Precision
from export.specification import Sizes
from tests.support.launching import Server, launch, wait_until_ready

PROMPTS = ("a large red circle on the left of a blue background", "a small white square", "a green triangle")
MODELS = ("text_encoder", "denoiser", "vae_decoder")


def load(repository: Path, model: str) -> onnx.ModelProto:
    return onnx.load(repository / model / "1/model.onnx")


def share_in_half(model: onnx.ModelProto) -> float:
    """The share of the weights that are FP16."""
    sizes = {TensorProto.FLOAT: 0, TensorProto.FLOAT16: 0}
    for tensor in model.graph.initializer:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    return sizes[TensorProto.FLOAT16] / sum(sizes.values())


@pytest.mark.parametrize("name", MODELS)
def test_the_interface_is_that_of_the_fp32_graph(shipped_repository: Path, half_repository: Path, name: str) -> None:
    whole, half = load(shipped_repository, name).graph, load(half_repository, name).graph
    assert list(half.input) == list(whole.input)
    assert list(half.output) == list(whole.output)


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_well_typed_and_its_weights_are_half(half_repository: Path, name: str) -> None:
    model = load(half_repository, name)
    onnx.checker.check_model(model, full_check=True)
    assert share_in_half(model) > 0.999
    products = [node for node in gs.import_onnx(model).nodes if node.op in ("Conv", "MatMul", "Gemm")]
    assert products
    assert {tensor.dtype for node in products for tensor in node.inputs} == {np.dtype(np.float16)}


@pytest.mark.parametrize("name", MODELS)
def test_a_precision_changes_only_at_the_borders(half_repository: Path, name: str) -> None:
    casts = [node for node in load(half_repository, name).graph.node if node.op_type == "Cast"]
    assert len(casts) <= 4


def test_the_timestep_and_the_way_to_bytes_are_fp32(half_repository: Path) -> None:
    denoiser, decoder = (gs.import_onnx(load(half_repository, name)) for name in ("denoiser", "vae_decoder"))
    assert {"Sin", "Cos"} <= {node.op for node in prologue(denoiser)}
    assert {"Round", "Clip"} <= {node.op for node in epilogue(decoder)}
    for node in (*prologue(denoiser), *epilogue(decoder)):
        assert np.float16 not in {tensor.dtype for tensor in node.outputs} or node.op == "Cast"


def test_bytes_come_last(half_repository: Path) -> None:
    output = gs.import_onnx(load(half_repository, "vae_decoder")).outputs[0]
    assert output.inputs[0].op == "Cast"


def test_a_weight_out_of_range_is_caught_by_the_gate(tiny: Checkpoint, sizes: Sizes, tmp_path: Path) -> None:
    network = tiny.networks(sizes)["vae_decoder"]
    module = tiny.load_module(network)
    module.vae.post_quant_conv.weight.data *= 1e6
    module.vae.decoder.conv_in.weight.data /= 1e6
    path = write_graph(network, module, tmp_path, Precision.FP16)
    with pytest.raises(GateError):
        check_graph(network, path, module, Precision.FP16)


def test_a_image_differs_by_less_than_the_eye_sees(shipped_repository: Path, half_repository: Path) -> None:
    with InProcess(shipped_repository) as whole, InProcess(half_repository) as half:
        for seed, prompt in enumerate(PROMPTS):
            reference, measured = (loop.generate(prompt, seed=seed) for loop in (whole, half))
            assert psnr(reference.result(), measured.result()) >= 40


def test_a_served_image_differs_by_less_than_the_eye_sees(server: Server, half_repository: Path) -> None:
    launcher = launch(half_repository)
    try:
        half = wait_until_ready(launcher)
        with Client(server.grpc_url) as exact, Client(half.grpc_url) as client:
            (reference,), (measured,) = (c.text_to_image(PROMPTS[0], seed=7) for c in (exact, client))
        assert psnr(np.asarray(reference), np.asarray(measured)) >= 40
    finally:
        launcher.terminate()
        launcher.wait(timeout=90)
