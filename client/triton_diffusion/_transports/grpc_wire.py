"""Messages over gRPC, for both transports: Triton's protobuf messages, as tritonclient ships them."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

import grpc
from tritonclient.grpc import service_pb2

from .._checkpoint import Checkpoint, read_checkpoint
from .._deadline import Deadline
from .._request import Request
from .._response import NAMES, Answer, Model, tensor
from .shared_memory import Region
from .transport import CHECKPOINT, READY, VERSION, Question

T = TypeVar("T")


class Method(NamedTuple, Generic[T]):
    """One call, and the reading of each of its answers; T is what an answer is read as."""

    name: str
    message: Any
    answer: Any  # its protobuf class
    decode: Callable[[Any], T]
    headers: Mapping[str, str] = {}

    @property
    def codec(self) -> tuple[str, Any, Any]:
        """The arguments of the channel's multicallables: path, serializer, deserializer."""
        return (
            f"/inference.GRPCInferenceService/{self.name}",
            type(self.message).SerializeToString,
            self.answer.FromString,
        )

    def call(self, timeout: float | None) -> dict[str, Any]:
        """The arguments of the channel's call. timeout: seconds."""
        return {"request": self.message, "timeout": timeout, "metadata": tuple(self.headers.items())}


def infer(request: Request, deadline: Deadline, region: Region | None) -> Method[Answer]:
    """The request for images, which come through `region` if there is one."""
    message = infer_message(request, deadline)
    if region is not None:
        for name in ("seed", *NAMES):
            message.outputs.add(name=name)
        image = message.outputs.add(name="image")
        image.parameters["shared_memory_region"].string_param = region.name
        image.parameters["shared_memory_byte_size"].int64_param = region.size
    answer = service_pb2.ModelInferResponse
    return Method("ModelInfer", message, answer, lambda response: _answer(response, region), request.trace)


def stream(request: Request, deadline: Deadline) -> Method[Answer]:
    """The request to a decoupled model."""
    message, answer = infer_message(request, deadline), service_pb2.ModelStreamInferResponse
    return Method("ModelStreamInfer", message, answer, lambda response: _answer(response.infer_response), request.trace)


def infer_message(request: Request, deadline: Deadline) -> Any:
    """The protobuf message that asks for all outputs."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.id)
    if (microseconds := deadline.microseconds) is not None:
        message.parameters["timeout"].int64_param = microseconds
    if request.caller is not None:
        message.parameters["caller"].string_param = request.caller
    for name, datatype, content in request.tensors:
        message.inputs.add(name=name, datatype=datatype, shape=[1])
        message.raw_input_contents.append(content)
    return message


def register(region: Region) -> Method[None]:
    """The message that makes `region` known to the server."""
    kind = "System" if region.kind == "system" else "Cuda"
    name = f"{kind}SharedMemoryRegister"
    message = getattr(service_pb2, f"{name}Request")(name=region.name, byte_size=region.size, **region.key)
    return Method(name, message, getattr(service_pb2, f"{name}Response"), lambda answer: None)


def unregister(region: Region) -> Method[None]:
    """The message that makes the server forget `region`."""
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
    return read_checkpoint({name: value.string_value for name, value in response.config.parameters.items()})


def model(name: str) -> Method[Model]:
    """The question for a model's metadata, which Triton has of those that are ready."""
    message = service_pb2.ModelMetadataRequest(name=name)
    return Method("ModelMetadata", message, service_pb2.ModelMetadataResponse, _model)


def _model(response: Any) -> Model:
    return Model(response.name, " ".join(response.versions), ready=True)


def question(asked: Question[T]) -> Method[T]:
    """The method that answers a question."""
    return _QUESTIONS[asked]


_QUESTIONS: dict[Question[Any], Method[Any]] = {
    READY: Method(
        "ServerReady", service_pb2.ServerReadyRequest(), service_pb2.ServerReadyResponse, lambda answer: answer.ready
    ),
    VERSION: Method(
        "ServerMetadata",
        service_pb2.ServerMetadataRequest(),
        service_pb2.ServerMetadataResponse,
        lambda answer: answer.version,
    ),
    CHECKPOINT: Method(
        "ModelConfig", service_pb2.ModelConfigRequest(name="diffusion"), service_pb2.ModelConfigResponse, _checkpoint
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
