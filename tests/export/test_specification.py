"""Every generated config.pbtxt says what the specification says, in the words that Triton expects."""

import json

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.config import hand_written_config, network_config
from export.loop import FIELDS
from export.runtime import Runtime
from export.specification import DIFFUSION, TEXT_TO_IMAGE, Axis, HandWrittenModel, Network, Range, Sizes, Tensor
from tests.support.exports import networks_at

# The backend, and the file where it is not the backend's own choice.
BACKENDS = {
    Runtime.PYTHON: ("python", ""),
    Runtime.ONNXRUNTIME: ("onnxruntime", "model.onnx"),
    Runtime.TORCH: ("python", ""),
    Runtime.TENSORRT: ("tensorrt", "model.plan"),
}
INSTANCES = {Runtime.PYTHON: "KIND_CPU", Runtime.TORCH: "KIND_AUTO", Runtime.TENSORRT: "KIND_GPU"}
NETWORKS = ("text_encoder", "denoiser", "vae_decoder")
REQUEST = {
    "prompt": "STRING",
    "negative_prompt": "STRING",
    "num_images": "INT32",
    "height": "INT32",
    "width": "INT32",
    "num_inference_steps": "INT32",
    "guidance_scale": "FP32",
    "sampler": "STRING",
    "timestep_spacing": "STRING",
    "eta": "FP32",
    "seed": "INT64",
    "priority": "STRING",
}
"""Fields that clients have sent since the first release."""

STATIC = Sizes(512, 512, Range(512, 512), Range(512, 512), vae_factor=8)
DYNAMIC = Sizes(512, 512, Range(256, 768), Range(512, 512), vae_factor=8)


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


def check_config(config: model_config_pb2.ModelConfig, model: Network | HandWrittenModel) -> None:
    assert config.name == model.name
    assert not config.HasField("dynamic_batching")
    data_type = model_config_pb2.DataType.Name
    assert interface(model.inputs) == [(i.name, data_type(i.data_type), list(i.dims), i.optional) for i in config.input]
    assert interface(model.outputs) == [(o.name, data_type(o.data_type), list(o.dims), False) for o in config.output]


def check_one_process(config: model_config_pb2.ModelConfig, kind: str) -> None:
    (group,) = config.instance_group
    assert (group.count, model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind)) == (1, kind)


@pytest.mark.parametrize("sizes", [STATIC, DYNAMIC])
@pytest.mark.parametrize("runtime", BACKENDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_config_of_a_network(sizes: Sizes, runtime: Runtime, name: str) -> None:
    network = networks_at(sizes)[name]
    config = parse(network_config(network, runtime))
    check_config(config, network)
    assert config.max_batch_size == network.max_batch
    assert not config.model_transaction_policy.decoupled
    assert (config.backend, config.default_model_filename) == BACKENDS[runtime]
    if runtime in INSTANCES:
        check_one_process(config, INSTANCES[runtime])


def test_config_of_a_network_with_several_inputs_and_outputs() -> None:
    ids, width = Tensor("input_ids_2", "INT32", (77,)), Tensor("pooled", "FP32", (1280,))
    network = networks_at(STATIC)["text_encoder"]
    several = Network("text_encoder", (*network.inputs, ids), (*network.outputs, width), 16, 2, (1,), (2,))
    config = parse(network_config(several, Runtime.PYTHON))
    check_config(config, several)
    assert sorted(config.model_warmup[0].inputs) == ["input_ids", "input_ids_2"]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_plan_runs_small_batches_as_cuda_graphs(name: str) -> None:
    network = networks_at(STATIC)[name]
    cuda = parse(network_config(network, Runtime.TENSORRT)).optimization.cuda
    assert cuda.graphs
    assert cuda.output_copy_stream
    batches = [spec.batch_size for spec in cuda.graph_spec]
    assert {1, network.usual_batch} <= {*batches}
    assert max(batches) <= network.max_batch


def test_the_timestep_has_the_batch_axis_only() -> None:
    config = parse(network_config(networks_at(STATIC)["denoiser"], Runtime.PYTHON))
    reshaped = {tensor.name: list(tensor.reshape.shape) for tensor in config.input if tensor.HasField("reshape")}
    assert reshaped == {"timestep": []}


def test_ranges_become_axes() -> None:
    networks = networks_at(DYNAMIC)
    assert networks["denoiser"].inputs[0].shape == (4, Axis("latent_height", Range(32, 96), 64), 64)
    assert networks["vae_decoder"].outputs[0].shape == (Axis("height", Range(256, 768), 512), 512, 3)


def test_the_text_encoder_writes_what_the_denoiser_reads() -> None:
    networks = networks_at(DYNAMIC)
    conditioning = [tensor for tensor in networks["denoiser"].inputs if tensor.name not in ("sample", "timestep")]
    assert [*networks["text_encoder"].outputs] == conditioning


@pytest.mark.parametrize("model", [DIFFUSION, TEXT_TO_IMAGE], ids=lambda model: model.name)
def test_config_of_a_hand_written_model(model: HandWrittenModel) -> None:
    told = {"description": json.dumps({"name": 'a "quoted" näme\n'})}
    config = parse(hand_written_config(model, told))
    check_config(config, model)
    check_one_process(config, "KIND_CPU")
    assert (config.backend, config.max_batch_size) == ("python", 0)
    assert config.model_transaction_policy.decoupled == (model is DIFFUSION)
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    limits = {"max_active_samples": "16", "max_queue": "64"} if model is DIFFUSION else {}
    assert parameters == {**limits, **told}


@pytest.mark.parametrize("model", [DIFFUSION, TEXT_TO_IMAGE], ids=lambda model: model.name)
def test_requests_of_the_first_release_are_still_understood(model: HandWrittenModel) -> None:
    found = {tensor.name: tensor for tensor in model.inputs}
    assert {name: found[name].dtype for name in REQUEST} == REQUEST
    assert {found[name].shape for name in REQUEST} == {(1,)}
    assert [tensor.name for tensor in model.inputs if not tensor.optional] == ["prompt"]
    assert ("preview_interval" in found) == (model is DIFFUSION)


def test_every_field_of_a_request_is_an_input() -> None:
    assert [tensor.name for tensor in DIFFUSION.inputs] == [field.name for field in FIELDS]
    streamed = {field.name for field in FIELDS if field.stream_only}
    assert {tensor.name for tensor in TEXT_TO_IMAGE.inputs} == {field.name for field in FIELDS} - streamed
