"""A network whose weights are NaN, served: every request fails by the network's name, and none gets a black image."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc
from onnx import numpy_helper
from tritonclient.utils import InferenceServerException

from tests.model_repository.conftest import inputs
from tests.support.launching import Server, launch, wait_until_ready


@pytest.fixture(scope="module")
def poisoned_server(shipped_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose decoder has a NaN in every weight of its last layer."""
    repository = shutil.copytree(shipped_repository, tmp_path_factory.mktemp("poisoned") / "models")
    path = repository / "vae_decoder/1/model.onnx"
    graph = onnx.load(path)
    last = [node for node in graph.graph.node if node.op_type == "Conv"][-1].input[1]
    (weights,) = [tensor for tensor in graph.graph.initializer if tensor.name == last]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(np.nan), last))
    onnx.save(graph, path)
    launcher = launch(repository)
    try:
        yield wait_until_ready(launcher)
    finally:
        launcher.terminate()
        launcher.wait(timeout=90)


def test_a_decoder_that_gives_nan_fails_the_request_by_name(poisoned_server):
    with tritonclient.grpc.InferenceServerClient(poisoned_server.grpc_url) as client:
        asked = inputs(tritonclient.grpc, {"prompt": "a red circle", "num_inference_steps": 2, "num_images": 2})
        with pytest.raises(InferenceServerException, match="vae_decoder computed NaN or infinity: export it in FP32"):
            client.infer("text_to_image", asked)
    poisoned_server.wait_until_idle()
    assert poisoned_server.metric("diffusion_requests_total", outcome="failed") == 1
