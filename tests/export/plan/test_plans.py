"""Plans: the real builder makes them from the shipped checkpoint's graphs, and says in one line what it cannot."""

import json
import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest
import tensorrt_rtx_bindings as trt
from onnx import TensorProto, helper
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx

from export.checkpoint.components import Checkpoint, read_checkpoint
from export.errors import PlanError, RequestError
from export.graph.gate import LIMITS, check_output, random_inputs
from export.plan import builder as builder_module
from export.plan.plans import Target, check_version, choose_target, parse_sms, run_builder, shapes, write_plan
from export.runtime import Precision, Runtime
from export.sizes import choose_sizes
from export.specification import Network, Range, Sizes
from tests.support.exports import networks_at
from tests.support.processes import children

CHECKPOINT = Path(__file__).parents[3] / "shapes/checkpoint"
MODELS = ("text_encoder", "denoiser", "vae_decoder")
DTYPES = {"FP32": trt.float32, "INT32": trt.int32, "UINT8": trt.uint8}
MATRIX_PRODUCTS = {trt.LayerType.CONVOLUTION, trt.LayerType.MATRIX_MULTIPLY}


@pytest.fixture(scope="module")
def target() -> Target:
    """One kind of GPU, which this machine need not have."""
    found = choose_target(Runtime.TENSORRT_RTX, "86")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    checkpoint = read_checkpoint(str(CHECKPOINT))
    return checkpoint.networks(choose_sizes(checkpoint, None, None))


@pytest.fixture
def graph(half_repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the FP16 graph of the model that the test names."""
    return Path(shutil.copy(half_repository / request.param / "1/model.onnx", tmp_path))


def small_graph(folder: Path, op: str = "Relu", domain: str = "") -> Path:
    """One node between an input and an output of (B, 4)."""
    batched = ["batch", 4]
    node = helper.make_node(op, ["sample"], ["result"], name="the_node", domain=domain)
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, batched)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, batched)],
    )
    opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets), folder / "model.onnx")
    return folder / "model.onnx"


def small_job(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "module": "tensorrt_rtx_bindings",
        "graph": str(folder / "model.onnx"),
        "plan": str(folder / "model.plan"),
        "shapes": {"sample": [[1, 4], [2, 4], [8, 4]]},
        "compute_capabilities": ["8.6"],
        "timings": None,
        **changes,
    }


@pytest.mark.parametrize(("graph", "name"), [*zip(MODELS, MODELS)], indirect=["graph"])
def test_a_plan_takes_the_place_of_its_graph(
    graph: Path, name: str, networks: dict[str, Network], target: Target
) -> None:
    weights = sum(len(tensor.raw_data) for tensor in onnx.load(graph).graph.initializer)
    said: list[str] = []
    write_plan(networks[name], graph, target, said.append)
    assert sorted(os.listdir(graph.parent)) == ["model.plan", "plan.json"]
    assert graph.with_name("model.plan").stat().st_size > weights
    facts = json.loads(graph.with_name("plan.json").read_text())
    assert (facts["version"], facts["compute_capabilities"], facts["gpu"]) == (trt.__version__, ["8.6"], None)
    assert said[0] == f"{name}: building the plan"
    assert all(line.startswith(f"{said[0]}, ") for line in said[1:])


@pytest.mark.parametrize(("graph", "name"), [*zip(MODELS, MODELS)], indirect=["graph"])
def test_the_network_has_the_types_of_the_graph(graph: Path, name: str, networks: dict[str, Network]) -> None:
    """Its products are FP16, its inputs and outputs those of the specification."""
    logger = builder_module.listener(trt)
    builder = trt.Builder(logger)
    network = builder_module.parse(trt, builder, logger, str(graph))
    interface = networks[name]
    assert network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    for tensors, found in (
        (interface.inputs, [network.get_input(i) for i in range(network.num_inputs)]),
        (interface.outputs, [network.get_output(i) for i in range(network.num_outputs)]),
    ):
        expected = [(tensor.name, DTYPES[tensor.dtype], (-1, *tensor.shape)) for tensor in tensors]
        assert [(tensor.name, tensor.dtype, tuple(tensor.shape)) for tensor in found] == expected
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    products = [layer for layer in layers if layer.type in MATRIX_PRODUCTS]
    assert len(products) > 10
    assert {layer.get_output(0).dtype for layer in products} == {trt.float16}
    plan_profile = builder_module.profile(builder, shapes(interface))
    for tensor in interface.inputs:
        smallest, usual, largest = (tuple(shape) for shape in plan_profile.get_shape(tensor.name))
        assert (smallest[0], largest[0]) == (1, interface.max_batch)
        assert smallest[1:] == usual[1:] == largest[1:] == tensor.shape


def test_a_range_of_sizes_becomes_a_range_of_shapes() -> None:
    sizes = Sizes(512, 512, Range(256, 768), Range(512, 512), vae_factor=8)
    assert shapes(networks_at(sizes)["denoiser"]) == {
        "sample": [[1, 4, 32, 64], [2, 4, 64, 64], [32, 4, 96, 64]],
        "timestep": [[1], [2], [32]],
        "context": [[1, 77, 768], [2, 77, 768], [32, 77, 768]],
    }


def test_a_graph_for_a_range_of_sizes_can_be_built(
    repository: Path, tiny: Checkpoint, sizes: Sizes, tmp_path: Path, target: Target
) -> None:
    graph = Path(shutil.copy(repository / "vae_decoder/1/model.onnx", tmp_path))
    write_plan(tiny.networks(sizes)["vae_decoder"], graph, target, lambda text: None)
    assert (tmp_path / "model.plan").exists()


def test_an_unsupported_node_is_named(tmp_path: Path) -> None:
    small_graph(tmp_path, "Abacus", "elsewhere")
    with pytest.raises(PlanError, match=r"^denoiser: .* does not support the node the_node \(Abacus: ") as caught:
        run_builder("denoiser", small_job(tmp_path), lambda text: None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.plan").exists()


def test_a_network_that_cannot_be_built_is_told_with_the_reason(tmp_path: Path) -> None:
    small_graph(tmp_path)
    backwards = small_job(tmp_path, shapes={"sample": [[8, 4], [2, 4], [1, 4]]})
    with pytest.raises(PlanError, match=r"^denoiser: no plan could be built \(.+\)$"):
        run_builder("denoiser", backwards, lambda text: None)


def builders() -> list[int]:
    """The process ids of the builders that this process runs."""
    found = children(os.getpid())
    return [child for child in found if b"export.plan.builder" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize("graph", ["denoiser"], indirect=True)
def test_an_interrupt_ends_the_builder_and_leaves_no_plan(
    graph: Path, networks: dict[str, Network], target: Target
) -> None:
    def interrupt(text: str) -> None:
        if builders():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_plan(networks["denoiser"], graph, target, interrupt)
    assert os.listdir(graph.parent) == ["model.onnx"]
    assert builders() == []


@pytest.mark.parametrize("graph", ["denoiser"], indirect=True)
def test_a_builder_that_the_system_kills_for_its_memory_is_told(
    graph: Path, networks: dict[str, Network], target: Target
) -> None:
    def kill(text: str) -> None:
        for builder in builders():
            os.kill(builder, signal.SIGKILL)

    with pytest.raises(PlanError, match=r"^denoiser: .* ended with code -9, most likely because memory ran out"):
        write_plan(networks["denoiser"], graph, target, kill)
    assert os.listdir(graph.parent) == ["model.onnx"]


def test_memory_that_the_builder_misses_is_told() -> None:
    errors = ["[a] something", "Error Code 2: OutOfMemory (Requested size was 3355443200 bytes.)"]
    assert builder_module.reason(errors).startswith("not enough memory to build the plan (Error Code 2: OutOfMemory")


@pytest.mark.parametrize("stored", [None, b"garbage"])
def test_timings_are_kept_for_the_next_build(tmp_path: Path, stored: bytes | None) -> None:
    """The calls are TensorRT's; TensorRT-RTX takes them and times nothing."""
    small_graph(tmp_path)
    timings = tmp_path / "cache/timings-1.2-8.6"
    if stored:
        timings.parent.mkdir()
        timings.write_bytes(stored)
    for _ in range(2):
        run_builder("denoiser", small_job(tmp_path, timings=str(timings)), lambda text: None)
        kept = timings.read_bytes()
        assert kept != (stored or b"")
        assert os.listdir(timings.parent) == [timings.name]


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    small_graph(tmp_path)
    with pytest.raises(OSError, match="No such file") as caught:
        run_builder("denoiser", small_job(tmp_path, plan=str(tmp_path / "none/model.plan")), lambda text: None)
    assert caught.value.filename == str(tmp_path / "none/model.plan")


def test_gpus_are_named_by_numbers() -> None:
    assert parse_sms("120,86,120", ["86", "89", "120"]) == ["120", "86"]


@pytest.mark.parametrize("text", ["", "86,", "8.6", "sm86", "90", "86 89"])
def test_a_gpu_that_is_not_supported(text: str) -> None:
    with pytest.raises(RequestError, match="write one or more of 86, 89 "):
        parse_sms(text, ["86", "89"])


def test_numbers_of_gpus_are_for_tensorrt_rtx_only() -> None:
    with pytest.raises(RequestError, match="--sm needs --runtime tensorrt-rtx"):
        choose_target(Runtime.TENSORRT, "86")
    assert choose_target(Runtime.PYTHON, None) is None


@pytest.mark.parametrize("version", ["8.6.1", "10.11.0.33"])
def test_too_old_a_tensorrt(version: str) -> None:
    with pytest.raises(PlanError, match=rf"TensorRT is {version} here, and plans need 10.12 or later"):
        check_version(version)


@pytest.mark.parametrize("version", ["10.12.0.36", "11.0.0.1"])
def test_new_enough_a_tensorrt(version: str) -> None:
    check_version(version)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_no_tensorrt_is_told_with_what_to_do() -> None:
    with pytest.raises(PlanError, match=r"needs the module tensorrt .*: run this in NVIDIA's TensorRT container"):
        choose_target(Runtime.TENSORRT, None)


@pytest.mark.skipif(find_spec("tensorrt") is None, reason="no GPU: TensorRT is not installed")
@pytest.mark.parametrize(("graph", "name"), [*zip(MODELS, MODELS)], indirect=["graph"])
def test_a_plan_of_this_gpu_computes_what_its_graph_does(graph: Path, name: str, networks: dict[str, Network]) -> None:
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner

    feeds = list(random_inputs(networks[name]))
    with OnnxrtRunner(SessionFromOnnx(str(graph))) as runner:
        references = [runner.infer(feed, copy_outputs_to_host=True) for feed in feeds]
    this_gpu = choose_target(Runtime.TENSORRT, None)
    assert this_gpu is not None
    write_plan(networks[name], graph, this_gpu, lambda text: None)
    with TrtRunner(EngineFromBytes(BytesFromPath(str(graph.with_name("model.plan"))))) as runner:
        for feed, reference in zip(feeds, references):
            measured = runner.infer(feed, copy_outputs_to_host=True)
            for output in reference:
                check_output(output, reference[output], measured[output], LIMITS[Precision.FP16])
