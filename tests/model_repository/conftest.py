"""Requests as plain tritonclient sends them, with the tensors of the wire interface."""

import queue
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from request import FIELDS

DTYPES = {field.name: field.datatype.replace("STRING", "BYTES") for field in FIELDS}
NUMPY = {"BYTES": np.object_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32}


def inputs(kind: Any, fields: dict[str, Any]) -> list[Any]:
    """`fields` as tensors of shape [1]; `kind` is tritonclient.grpc or tritonclient.http."""
    tensors = []
    for name, value in fields.items():
        value = value.encode() if isinstance(value, str) else value
        tensor = kind.InferInput(name, [1], DTYPES[name])
        tensor.set_data_from_numpy(np.array([value], NUMPY[DTYPES[name]]))
        tensors.append(tensor)
    return tensors


Infer = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def grpc_client(server) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        yield client


@pytest.fixture(scope="session")
def grpc_infer(grpc_client) -> Infer:
    """text_to_image over gRPC: the images, uint8 (N, H, W, 3)."""
    return lambda **fields: grpc_client.infer("text_to_image", inputs(tritonclient.grpc, fields)).as_numpy("image")


@pytest.fixture(scope="session")
def http_infer(server) -> Iterator[Infer]:
    """text_to_image over HTTP: the images, uint8 (N, H, W, 3)."""
    with tritonclient.http.InferenceServerClient(server.http_url, network_timeout=120) as client:
        yield lambda **fields: client.infer("text_to_image", inputs(tritonclient.http, fields)).as_numpy("image")


@pytest.fixture
def stream(server) -> Callable[..., list[dict[str, np.ndarray]]]:
    """`diffusion` over a gRPC stream: every response as a dictionary of arrays."""

    def run(**fields: Any) -> list[dict[str, np.ndarray]]:
        answers: queue.Queue = queue.Queue()
        with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
            client.start_stream(lambda result, error: answers.put(error or result))
            client.async_stream_infer("diffusion", inputs(tritonclient.grpc, fields), enable_empty_final_response=True)
            responses = []
            while True:
                answer = answers.get(timeout=60)
                if isinstance(answer, Exception):
                    raise answer
                message = answer.get_response()
                if message.outputs:
                    responses.append({output.name: answer.as_numpy(output.name) for output in message.outputs})
                if message.parameters["triton_final_response"].bool_param:
                    return responses

    return run


@pytest.fixture(scope="session")
def wire_inputs() -> Callable[..., list[Any]]:
    """Fields as tritonclient.grpc inputs."""
    return lambda **fields: inputs(tritonclient.grpc, fields)
