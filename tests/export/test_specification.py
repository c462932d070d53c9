"""Every config.pbtxt, generated or hand-written, says what the specification says."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.config import Runtime, config_pbtxt
from export.specification import DIFFUSION, TEXT_TO_IMAGE, USUAL_BATCH, Axis, Model, Range, Sizes, Tensor, engines

ROOT = Path(__file__).parents[2]

# The backend, and the file where it is not the backend's own choice.
BACKENDS = {
    Runtime.PYTHON: ("python", ""),
    Runtime.ONNXRUNTIME: ("onnxruntime", "model.onnx"),
    Runtime.TORCH: ("python", ""),
    Runtime.TENSORRT: ("tensorrt", "model.plan"),
}
INSTANCES = {Runtime.PYTHON: "KIND_CPU", Runtime.TORCH: "KIND_AUTO", Runtime.TENSORRT: "KIND_GPU"}

STATIC = Sizes(512, 512, Range(512, 512), Range(512, 512), vae_factor=8, context_dim=768)
DYNAMIC = Sizes(512, 512, Range(256, 768), Range(512, 512), vae_factor=8, context_dim=768)


def parse(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def interface(tensors: tuple[Tensor, ...]) -> list[tuple[str, str, list[int], bool]]:
    return [
        (
            tensor.name,
            f"TYPE_{tensor.dtype}",
            [size if isinstance(size, int) else -1 for size in tensor.shape] or [1],
            tensor.optional,
        )
        for tensor in tensors
    ]


def check_config(config: model_config_pb2.ModelConfig, model: Model) -> None:
    assert config.name in ("", model.name)  # Triton takes the folder's name where none is given
    assert config.max_batch_size == model.max_batch
    assert config.model_transaction_policy.decoupled == model.decoupled
    assert not config.HasField("dynamic_batching")
    data_type = model_config_pb2.DataType.Name
    assert interface(model.inputs) == [(i.name, data_type(i.data_type), list(i.dims), i.optional) for i in config.input]
    assert interface(model.outputs) == [(o.name, data_type(o.data_type), list(o.dims), False) for o in config.output]


@pytest.mark.parametrize("sizes", [STATIC, DYNAMIC])
@pytest.mark.parametrize("runtime", BACKENDS)
@pytest.mark.parametrize("name", ["text_encoder", "unet", "vae_decoder"])
def test_generated_config(sizes: Sizes, runtime: Runtime, name: str) -> None:
    model = engines(sizes)[name]
    config = parse(config_pbtxt(model, runtime, {}))
    check_config(config, model)
    assert (config.backend, config.default_model_filename) == BACKENDS[runtime]
    if runtime in INSTANCES:
        (group,) = config.instance_group
        assert (group.count, model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind)) == (1, INSTANCES[runtime])


@pytest.mark.parametrize("name", ["text_encoder", "unet", "vae_decoder"])
def test_a_plan_runs_small_batches_as_cuda_graphs(name: str) -> None:
    model = engines(STATIC)[name]
    cuda = parse(config_pbtxt(model, Runtime.TENSORRT, {})).optimization.cuda
    assert cuda.graphs
    assert cuda.output_copy_stream
    batches = [spec.batch_size for spec in cuda.graph_spec]
    assert {1, USUAL_BATCH[name]} <= {*batches}
    assert max(batches) <= model.max_batch


def test_the_timestep_has_the_batch_axis_only() -> None:
    config = parse(config_pbtxt(engines(STATIC)["unet"], Runtime.PYTHON, {}))
    reshaped = {tensor.name: list(tensor.reshape.shape) for tensor in config.input if tensor.HasField("reshape")}
    assert reshaped == {"timestep": []}


def test_ranges_become_axes() -> None:
    model = engines(DYNAMIC)
    assert model["unet"].inputs[0].shape == (4, Axis("latent_height", Range(32, 96), 64), 64)
    assert model["vae_decoder"].outputs[0].shape == (Axis("height", Range(256, 768), 512), 512, 3)


@pytest.mark.parametrize("model", [DIFFUSION, TEXT_TO_IMAGE], ids=lambda model: model.name)
def test_hand_written_config(model: Model) -> None:
    check_config(parse((ROOT / "model_repository" / model.name / "config.pbtxt").read_text()), model)
