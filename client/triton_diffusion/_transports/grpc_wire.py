"""What is said over gRPC, whoever sends it: Triton's protobuf messages, as tritonclient ships them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
from tritonclient.grpc import service_pb2

from .._checkpoint import Checkpoint, checkpoint
from .._deadline import Deadline
from .._request import Request
from .._response import Answer, Model, tensor
from .shared_memory import Region
from .transport import Question


class Method(NamedTuple):
    """One call, and how each of its answers is read."""

    name: str
    message: Any
    answer: Any  # its protobuf class
    decode: Callable[[Any], Any]
    headers: Mapping[str, str] = {}

    @property
    def codec(self) -> tuple[str, Any, Any]:
        """What a channel must know of it."""
        return (
            f"/inference.GRPCInferenceService/{self.name}",
            type(self.message).SerializeToString,
            self.answer.FromString,
        )

    def call(self, timeout: float | None) -> dict[str, Any]:
        """What the channel's method takes. `timeout`: seconds."""
        return {"request": self.message, "timeout": timeout, "metadata": tuple(self.headers.items())}


def infer(request: Request, deadline: Deadline, region: Region | None) -> Method:
    """The request for pictures, which come through `region` where there is one."""
    message = infer_message(request, deadline)
    if region is not None:
        message.outputs.add(name="seed")
        image = message.outputs.add(name="image")
        image.parameters["shared_memory_region"].string_param = region.name
        image.parameters["shared_memory_byte_size"].int64_param = region.size
    answer = service_pb2.ModelInferResponse
    return Method("ModelInfer", message, answer, lambda response: _answer(response, region), request.trace)


def stream(request: Request, deadline: Deadline) -> Method:
    """The request to a decoupled model."""
    message, answer = infer_message(request, deadline), service_pb2.ModelStreamInferResponse
    return Method("ModelStreamInfer", message, answer, lambda response: _answer(response.infer_response), request.trace)


def infer_message(request: Request, deadline: Deadline) -> Any:
    """The protobuf message that asks for all outputs."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.id)
    if (microseconds := deadline.microseconds) is not None:
        message.parameters["timeout"].int64_param = microseconds
    for name, datatype, content in request.tensors:
        message.inputs.add(name=name, datatype=datatype, shape=[1])
        message.raw_input_contents.append(content)
    return message


def register(region: Region) -> Method:
    """Tells the server of `region`."""
    kind = "System" if region.kind == "system" else "Cuda"
    name = f"{kind}SharedMemoryRegister"
    message = getattr(service_pb2, f"{name}Request")(name=region.name, byte_size=region.size, **region.key)
    return Method(name, message, getattr(service_pb2, f"{name}Response"), lambda answer: None)


def unregister(region: Region) -> Method:
    """Makes the server forget `region`."""
    kind = "System" if region.kind == "system" else "Cuda"
    name = f"{kind}SharedMemoryUnregister"
    message = getattr(service_pb2, f"{name}Request")(name=region.name)
    return Method(name, message, getattr(service_pb2, f"{name}Response"), lambda answer: None)


def _answer(response: Any, region: Region | None = None) -> Answer:
    outputs = {}
    for output, content in zip(response.outputs, response.raw_output_contents, strict=True):
        if region is not None and output.name == "image":
            outputs[output.name] = region.read(list(output.shape))
        elif (array := tensor(output.datatype, output.shape, content)) is not None:
            outputs[output.name] = array
    return Answer(outputs, response.model_version)


def _checkpoint(response: Any) -> Checkpoint | None:
    return checkpoint(response.config.parameters["checkpoint"].string_value)


def model(name: str) -> Method:
    """Asks for the description of a model, which Triton has of those that are ready."""
    message = service_pb2.ModelMetadataRequest(name=name)
    return Method("ModelMetadata", message, service_pb2.ModelMetadataResponse, _model)


def _model(response: Any) -> Model:
    return Model(response.name, " ".join(response.versions), ready=True)


QUESTIONS = {
    Question.READY: Method(
        "ServerReady", service_pb2.ServerReadyRequest(), service_pb2.ServerReadyResponse, lambda answer: answer.ready
    ),
    Question.VERSION: Method(
        "ServerMetadata",
        service_pb2.ServerMetadataRequest(),
        service_pb2.ServerMetadataResponse,
        lambda answer: answer.version,
    ),
    Question.CHECKPOINT: Method(
        "ModelConfig", service_pb2.ModelConfigRequest(name="unet"), service_pb2.ModelConfigResponse, _checkpoint
    ),
}


def retry_after(error: grpc.RpcError) -> float | None:
    """Seconds, from a proxy's header or from gRPC's own (its proposal A6)."""
    metadata = dict(error.trailing_metadata() or ())
    with suppress(KeyError, ValueError):
        return int(metadata["grpc-retry-pushback-ms"]) / 1000
    with suppress(KeyError, ValueError):
        return float(metadata["retry-after"])
    return None
