"""The gRPC transports.

They use tritonclient's protobuf messages on a channel of their own, shared by all threads or tasks. A stream of
tritonclient's InferenceServerClient belongs to one thread, and cancelling it leaves another thread waiting for ever.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import grpc.aio
from grpc.experimental import ChannelOptions
from tritonclient.grpc import service_pb2

from ._attempts import Deadline
from ._errors import DiffusionError, GenerationFailed, ServerUnavailable
from ._failures import error_from_status, error_in_stream
from ._request import Request, id_of
from ._response import Answer, Checkpoint, Model, tensor
from ._transport import Address, Question, checkpoint

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # gRPC's own limit of 4 MiB is one picture of 1024x1024
    # gRPC refuses calls for up to two minutes after a server was lost, also when it has long been back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),  # in spite of its name, how long a connection may take to be made
]
# Read a stream in the thread that iterates over it. Behind gRPC's helper threads the interpreter can hang as it exits:
# one of them may die holding a lock that the call's finalizer wants.
_SYNC_OPTIONS = [*_OPTIONS, (ChannelOptions.SingleThreadedUnaryStream, 1)]


class _Method(NamedTuple):
    name: str
    message: Any
    answer: Any  # its protobuf class
    decode: Callable[[Any], Any]

    @property
    def codec(self) -> tuple[str, Any, Any]:
        return (
            f"/inference.GRPCInferenceService/{self.name}",
            type(self.message).SerializeToString,
            self.answer.FromString,
        )


class _Wire:
    """What the two transports share: addresses and errors."""

    streams = True

    def __init__(self, address: Address) -> None:
        self.url = address.text
        self._credentials = grpc.ssl_channel_credentials() if address.tls else None
        self._target = address.target

    def failure(self, error: grpc.RpcError, deadline: Deadline, request: Request | None) -> DiffusionError:
        status, message = error.code().name, error.details() or ""
        if status == "DEADLINE_EXCEEDED" and deadline.passed:
            return deadline.exceeded(self.url, id_of(request))
        # gRPC's own words; Triton sends this status too, with its reason, while it is not ready.
        if status == "UNAVAILABLE" and message.startswith(("failed to connect", "errors resolving", "DNS resolution")):
            return ServerUnavailable(
                f"no gRPC server at {self.url}; is it running? (make serve)", request_id=id_of(request)
            )
        return error_from_status(status, message, self.url, request, _retry_after(error))

    def closed(self, request: Request | None) -> DiffusionError:
        return GenerationFailed("the client was closed before the answer came", request_id=id_of(request))


class GrpcTransport(_Wire):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        if self._credentials:
            self._channel = grpc.secure_channel(self._target, self._credentials, options=_SYNC_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(self._target, options=_SYNC_OPTIONS)

    def close(self) -> None:
        """Ends the channel and every call on it."""
        self._channel.close()

    def infer(self, request: Request, deadline: Deadline) -> Answer:
        answer: Answer = self._call(_infer_method(request), deadline, request)
        return answer

    def ask(self, question: Question, deadline: Deadline) -> Any:
        return self._call(_QUESTIONS[question], deadline, None)

    def _call(self, method: _Method, deadline: Deadline, request: Request | None) -> Any:
        # As a stream of one: a blocked unary call does not end on the server when Ctrl-C ends it here.
        for answer in list(self._responses(method, deadline, request)):
            return method.decode(answer)
        raise GenerationFailed(f"{self.url} ended the call without an answer", request_id=id_of(request))

    def stream(self, request: Request, deadline: Deadline) -> Generator[Answer]:
        """The responses of a decoupled model. The request is sent at the first `next`; closing cancels it."""
        method = _stream_method(request)
        for response in self._responses(method, deadline, request):
            if response.error_message:
                raise error_in_stream(response.error_message, self.url, request)
            yield method.decode(response)

    def _responses(self, method: _Method, deadline: Deadline, request: Request | None) -> Generator[Any]:
        # Triton reads a stream of requests for a stream. One request and the end of the stream look the same on the
        # wire as a method that takes a single request, which needs no thread to send it.
        # Without the header "triton_grpc_error", which would give errors their status: Triton 2.51 crashes on it.
        call = self._channel.unary_stream(*method.codec)(method.message, timeout=deadline.left())
        try:
            yield from call
        except grpc.RpcError as error:
            raise self.failure(error, deadline, request) from error
        finally:
            call.cancel()  # does nothing to a call that has ended


class AsyncGrpcTransport(_Wire):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._channel: grpc.aio.Channel | None = None  # belongs to the event loop that runs at the first call

    async def close(self) -> None:
        """Ends the channel and every call on it."""
        if self._channel is not None:
            await self._channel.close()

    async def infer(self, request: Request, deadline: Deadline) -> Answer:
        answer: Answer = await self._call(_infer_method(request), deadline, request)
        return answer

    async def ask(self, question: Question, deadline: Deadline) -> Any:
        return await self._call(_QUESTIONS[question], deadline, None)

    async def _call(self, method: _Method, deadline: Deadline, request: Request | None) -> Any:
        call = self._open().unary_unary(*method.codec)(method.message, timeout=deadline.left())
        try:
            return method.decode(await call)
        except grpc.RpcError as error:
            raise self.failure(error, deadline, request) from error
        except asyncio.CancelledError:
            self._check_still_wanted(request)
            raise

    async def stream(self, request: Request, deadline: Deadline) -> AsyncGenerator[Answer]:
        """As `GrpcTransport.stream`."""
        method = _stream_method(request)
        call = self._open().unary_stream(*method.codec)(method.message, timeout=deadline.left())
        try:
            async for response in call:
                if response.error_message:
                    raise error_in_stream(response.error_message, self.url, request)
                yield method.decode(response)
        except grpc.RpcError as error:
            raise self.failure(error, deadline, request) from error
        except asyncio.CancelledError:
            self._check_still_wanted(request)
            raise
        finally:
            call.cancel()

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            if self._credentials:
                self._channel = grpc.aio.secure_channel(self._target, self._credentials, options=_OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        return self._channel

    def _check_still_wanted(self, request: Request | None) -> None:
        """gRPC raises CancelledError also where the channel was closed, and nobody has cancelled the task."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise self.closed(request)


def infer_message(request: Request) -> Any:
    """The protobuf message that asks for all outputs."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.id)
    for name, datatype, content in request.tensors:
        message.inputs.add(name=name, datatype=datatype, shape=[1])
        message.raw_input_contents.append(content)
    return message


def _infer_method(request: Request) -> _Method:
    return _Method("ModelInfer", infer_message(request), service_pb2.ModelInferResponse, _answer)


def _stream_method(request: Request) -> _Method:
    answer = service_pb2.ModelStreamInferResponse
    return _Method(
        "ModelStreamInfer", infer_message(request), answer, lambda response: _answer(response.infer_response)
    )


def _answer(response: Any) -> Answer:
    arrays = {
        output.name: tensor(output.datatype, output.shape, content)
        for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
    }
    return Answer({name: array for name, array in arrays.items() if array is not None}, response.model_version)


def _checkpoint(response: Any) -> Checkpoint | None:
    return checkpoint(response.config.parameters["checkpoint"].string_value)


def _models(response: Any) -> list[Model]:
    return [Model(model.name, model.version, model.state == "READY", model.reason) for model in response.models]


_QUESTIONS = {
    Question.READY: _Method(
        "ServerReady", service_pb2.ServerReadyRequest(), service_pb2.ServerReadyResponse, lambda answer: answer.ready
    ),
    Question.MODELS: _Method(
        "RepositoryIndex", service_pb2.RepositoryIndexRequest(), service_pb2.RepositoryIndexResponse, _models
    ),
    Question.CHECKPOINT: _Method(
        "ModelConfig", service_pb2.ModelConfigRequest(name="unet"), service_pb2.ModelConfigResponse, _checkpoint
    ),
}


def _retry_after(error: grpc.RpcError) -> float | None:
    """Seconds, from a proxy's header or from gRPC's own (its proposal A6)."""
    metadata = dict(error.trailing_metadata() or ())
    with suppress(KeyError, ValueError):
        return int(metadata["grpc-retry-pushback-ms"]) / 1000
    with suppress(KeyError, ValueError):
        return float(metadata["retry-after"])
    return None
