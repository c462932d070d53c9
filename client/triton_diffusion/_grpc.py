"""The gRPC transport.

It uses tritonclient's protobuf messages on a channel of its own, shared by all threads. A stream of tritonclient's
InferenceServerClient belongs to one thread, and cancelling it leaves another thread waiting for ever.
"""

from collections.abc import Generator, Sequence

import grpc
from grpc.experimental import ChannelOptions
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor

from ._errors import DeadlineExceeded, DiffusionError, ServerUnavailable
from ._request import Tensor
from ._response import Outputs, error_from_status, error_in_stream


class GrpcTransport:
    def __init__(self, url: str) -> None:
        self._url = url
        self._channel = grpc.insecure_channel(
            url,
            options=[
                ("grpc.max_receive_message_length", -1),  # gRPC's own limit of 4 MiB is one picture of 1024x1024
                # Read a stream in the thread that iterates over it. Behind gRPC's helper threads the interpreter can
                # hang as it exits: one of them may die holding a lock that the call's finalizer wants.
                (ChannelOptions.SingleThreadedUnaryStream, 1),
            ],
        )
        serialize = service_pb2.ModelInferRequest.SerializeToString
        self._infer = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer", serialize, service_pb2.ModelInferResponse.FromString
        )
        # Triton reads a stream of requests here. One request and the end of the stream look the same on the wire as a
        # method that takes a single request, which needs no thread to send it.
        self._stream = self._channel.unary_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            serialize,
            service_pb2.ModelStreamInferResponse.FromString,
        )

    def close(self) -> None:
        """Ends the channel and every call on it."""
        self._channel.close()

    def infer(self, model: str, tensors: Sequence[Tensor], timeout: float | None) -> Outputs:
        try:
            return _outputs(self._infer(request(model, tensors), timeout=timeout))
        except grpc.RpcError as error:
            raise self._translated(error, timeout) from error

    def stream(self, model: str, tensors: Sequence[Tensor], timeout: float | None) -> Generator[Outputs]:
        """The responses of a decoupled model. The request is sent at the first `next`; closing cancels it."""
        # Without the header "triton_grpc_error", which would give errors their status: Triton 2.51 crashes on it.
        call = self._stream(request(model, tensors), timeout=timeout)
        error_message = ""
        try:
            for response in call:
                if response.error_message:  # the last response; the call then ends by itself
                    error_message = response.error_message
                else:
                    yield _outputs(response.infer_response)
        except grpc.RpcError as error:
            raise self._translated(error, timeout) from error
        finally:
            call.cancel()  # does nothing to a call that has ended
        if error_message:
            raise error_in_stream(error_message, self._url)

    def _translated(self, error: grpc.RpcError, timeout: float | None) -> DiffusionError:
        status, message = error.code().name, error.details()
        if status == "DEADLINE_EXCEEDED" and timeout is not None:
            return DeadlineExceeded(f"no result from {self._url} within {timeout:g} s")
        # gRPC's own words; Triton sends this status too, with its reason, while it is not ready.
        if status == "UNAVAILABLE" and message.startswith(("failed to connect", "errors resolving", "DNS resolution")):
            return ServerUnavailable(f"no gRPC server at {self._url}; is it running? (make serve)")
        return error_from_status(status, message, self._url)


def request(model: str, tensors: Sequence[Tensor]) -> service_pb2.ModelInferRequest:
    """The protobuf message that asks `model` for all of its outputs."""
    message = service_pb2.ModelInferRequest(model_name=model)
    for name, datatype, array in tensors:
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        content = serialize_byte_tensor(array).item() if datatype == "BYTES" else array.tobytes()
        message.raw_input_contents.append(content)
    return message


def _outputs(response: service_pb2.ModelInferResponse) -> Outputs:
    result = InferResult(response)
    return {output.name: result.as_numpy(output.name) for output in response.outputs}
