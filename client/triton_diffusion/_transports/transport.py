"""The protocol of transports: requests for images, and questions to a server beside them."""

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .._checkpoint import Checkpoint
from .._deadline import Deadline
from .._errors import InvalidRequest
from .._request import Request
from .._response import Answer, Model

T = TypeVar("T")


@dataclass(frozen=True)
class Question(Generic[T]):
    """A question to a server; T is the type of its answer."""

    name: str


READY: Question[bool] = Question("ready")
VERSION: Question[str] = Question("version")  # Triton's
CHECKPOINT: Question[Checkpoint | None] = Question("checkpoint")  # None from a server that does not describe itself


class Transport(Protocol):
    """The way to one server. Safe for several threads; every error is a DiffusionError."""

    url: str  # as in messages
    streams: bool  # whether it can `stream`

    def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        """The only response of a model. size: of the images in bytes, if they are to come through shared memory."""

    def stream(self, request: Request, deadline: Deadline) -> Generator[Answer]:
        """The responses of a decoupled model. The request is sent at the first `next`; closing cancels it."""

    def ask(self, question: Question[T], deadline: Deadline) -> T: ...

    def model(self, name: str, deadline: Deadline) -> Model:
        """A model that is ready; raises for any other."""

    def close(self) -> None:
        """Ends every call."""


class AsyncTransport(Protocol):
    """The same, for the tasks of one event loop."""

    url: str
    streams: bool

    async def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer: ...

    def stream(self, request: Request, deadline: Deadline) -> AsyncGenerator[Answer]: ...

    async def ask(self, question: Question[T], deadline: Deadline) -> T: ...

    async def model(self, name: str, deadline: Deadline) -> Model: ...

    async def close(self) -> None: ...


def check_streaming(transport: Transport | AsyncTransport) -> None:
    """Raises InvalidRequest for a transport that cannot stream."""
    if not transport.streams:
        raise InvalidRequest(
            'stream() needs gRPC: use protocol="grpc", usually on port 8001', "protocol", "http", "grpc"
        )
