"""The gRPC transports.

They use tritonclient's protobuf messages on a channel of their own, shared by all threads or tasks. A stream of
tritonclient's InferenceServerClient belongs to one thread, and cancelling it leaves another thread waiting for ever.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio
from grpc.experimental import ChannelOptions

from .._deadline import Deadline
from .._errors import DiffusionError, GenerationFailed, ServerUnavailable
from .._request import Request, id_of
from .._response import Answer, Model
from . import grpc_wire, keepalive
from .address import Address
from .failures import error_from_status, error_in_stream, tls_failure
from .grpc_wire import Method
from .shared_memory import Region, Regions, SharedMemory
from .tls import Tls
from .transport import Question

T = TypeVar("T")

_FORGET = 1.0  # seconds at most for a server to forget a region of shared memory
_IN_USE = "currently in use"  # Triton's words for a region that it has not let go of yet
_MOMENT = 0.02  # seconds until it is asked again
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # gRPC's own limit of 4 MiB is one image of 1024x1024
    # gRPC refuses calls for up to two minutes after a server was lost, also when it has long been back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),  # in spite of its name, how long a connection may take to be made
    *keepalive.GRPC,
]
# Read a stream in the thread that iterates over it. Behind gRPC's helper threads the interpreter can hang as it exits:
# one of them may die holding a lock that the call's finalizer wants.
_SYNC_OPTIONS = [*_OPTIONS, (ChannelOptions.SingleThreadedUnaryStream, 1)]


class _Wire:
    """The common part of the two transports: addresses and errors."""

    streams = True

    def __init__(self, address: Address, shared_memory: SharedMemory | None = None, tls: Tls | None = None) -> None:
        self.url = address.text
        self._regions = Regions(shared_memory)
        self._credentials = grpc.ssl_channel_credentials(*(tls or Tls()).contents()) if address.tls else None
        self._target = address.target

    def failure(self, error: grpc.RpcError, deadline: Deadline, request: Request | None) -> DiffusionError:
        status, message = error.code().name, error.details() or ""
        if status == "DEADLINE_EXCEEDED" and deadline.given:
            return deadline.exceeded(self.url, id_of(request))
        # gRPC's own words; Triton sends this status too, with its reason, while it is not ready.
        if status == "UNAVAILABLE" and message.startswith(("failed to connect", "errors resolving", "DNS resolution")):
            if (untrusted := tls_failure(message, self.url, request)) is not None:
                return untrusted
            reason = f"no gRPC server at {self.url}; is it running? (make serve)"
            if message.endswith("Socket closed"):
                wanted = "a client certificate that it trusts" if self._credentials else "TLS (grpcs://)"
                reason = f"the server at {self.url} takes no connection; does it want {wanted}?"
            return ServerUnavailable(reason, request_id=id_of(request), connected=False)
        return error_from_status(status, message, self.url, request, grpc_wire.retry_after(error))

    def closed(self, request: Request | None) -> DiffusionError:
        return GenerationFailed("the client was closed before the answer came", request_id=id_of(request))


class GrpcTransport(_Wire):
    def __init__(self, address: Address, shared_memory: SharedMemory | None = None, tls: Tls | None = None) -> None:
        super().__init__(address, shared_memory, tls)
        if self._credentials:
            self._channel = grpc.secure_channel(self._target, self._credentials, options=_SYNC_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(self._target, options=_SYNC_OPTIONS)

    def close(self) -> None:
        """Ends the channel and every call on it."""
        for region in self._regions.close():
            self._forget(region)
            region.close()
        self._channel.close()

    def _forget(self, region: Region) -> None:
        """Make the server forget `region`, which it may use for a moment after its answer has come."""
        deadline = Deadline(_FORGET)
        while True:
            try:
                return self._call(grpc_wire.unregister(region), deadline, None)
            except DiffusionError as error:
                if _IN_USE not in str(error) or deadline.passed:
                    return None
                time.sleep(_MOMENT)

    def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        with self._regions.lend(size) as loan:
            if loan.region is not None and not loan.registered:
                try:
                    self._call(grpc_wire.register(loan.region), deadline, None)
                except DiffusionError as error:
                    loan.refused(error)
            return self._call(grpc_wire.infer(request, deadline, loan.region), deadline, request)

    def ask(self, question: Question[T], deadline: Deadline) -> T:
        return self._call(grpc_wire.question(question), deadline, None)

    def model(self, name: str, deadline: Deadline) -> Model:
        return self._call(grpc_wire.model(name), deadline, None)

    def _call(self, method: Method[T], deadline: Deadline, request: Request | None) -> T:
        # As a stream of one: a blocked unary call does not end on the server when Ctrl-C ends it here.
        answers = list(self._responses(method, deadline, request))
        if not answers:
            raise GenerationFailed(f"{self.url} ended the call without an answer", request_id=id_of(request))
        return method.decode(answers[0])

    def stream(self, request: Request, deadline: Deadline) -> Generator[Answer]:
        """The responses of a decoupled model. The request is sent at the first `next`; closing cancels it."""
        method = grpc_wire.stream(request, deadline)
        responses = self._responses(method, deadline, request)
        for response in responses:
            if response.error_message:
                # To the end of the call: where it is cut off, Triton 2.51 does not unload the model, and cannot end.
                with suppress(DiffusionError):
                    for _ in responses:
                        pass
                raise error_in_stream(response.error_message, self.url, request)
            yield method.decode(response)

    def _responses(self, method: Method[Any], deadline: Deadline, request: Request | None) -> Generator[Any]:
        # Triton reads a stream of requests for a stream. One request and the end of the stream look the same on the
        # wire as a method that takes a single request, which needs no thread to send it.
        # Without the header "triton_grpc_error", which would give errors their status: Triton 2.51 crashes on it.
        try:
            call = self._channel.unary_stream(*method.codec)(**method.call(deadline.left()))
        except ValueError:  # another thread has closed the channel
            raise self.closed(request) from None
        try:
            yield from call
        except grpc.RpcError as error:
            raise self.failure(error, deadline, request) from error
        finally:
            call.cancel()  # does nothing to a call that has ended


class AsyncGrpcTransport(_Wire):
    def __init__(self, address: Address, shared_memory: SharedMemory | None = None, tls: Tls | None = None) -> None:
        super().__init__(address, shared_memory, tls)
        self._channel: grpc.aio.Channel | None = None  # belongs to the event loop that runs at the first call

    async def close(self) -> None:
        """Ends the channel and every call on it."""
        for region in self._regions.close():
            await self._forget(region)
            region.close()
        if self._channel is not None:
            await self._channel.close()

    async def _forget(self, region: Region) -> None:
        """As GrpcTransport's."""
        deadline = Deadline(_FORGET)
        while True:
            try:
                return await self._call(grpc_wire.unregister(region), deadline, None)
            except DiffusionError as error:
                if _IN_USE not in str(error) or deadline.passed:
                    return None
                await asyncio.sleep(_MOMENT)

    async def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        with self._regions.lend(size) as loan:
            if loan.region is not None and not loan.registered:
                try:
                    await self._call(grpc_wire.register(loan.region), deadline, None)
                except DiffusionError as error:
                    loan.refused(error)
            return await self._call(grpc_wire.infer(request, deadline, loan.region), deadline, request)

    async def ask(self, question: Question[T], deadline: Deadline) -> T:
        return await self._call(grpc_wire.question(question), deadline, None)

    async def model(self, name: str, deadline: Deadline) -> Model:
        return await self._call(grpc_wire.model(name), deadline, None)

    async def _call(self, method: Method[T], deadline: Deadline, request: Request | None) -> T:
        call = self._open().unary_unary(*method.codec)(**method.call(deadline.left()))
        try:
            return method.decode(await call)
        except grpc.RpcError as error:
            raise self.failure(error, deadline, request) from error
        except asyncio.CancelledError:
            self._check_still_wanted(request)
            raise

    async def stream(self, request: Request, deadline: Deadline) -> AsyncGenerator[Answer]:
        """As `GrpcTransport.stream`."""
        method = grpc_wire.stream(request, deadline)
        call = self._open().unary_stream(*method.codec)(**method.call(deadline.left()))
        try:
            async for response in call:
                if response.error_message:
                    with suppress(grpc.RpcError):  # to the end, as there
                        async for _ in call:
                            pass
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
