"""The protocol of transports: what can be asked of a server."""

from collections.abc import AsyncGenerator, Generator
from enum import Enum, auto
from typing import Any, Protocol

from .._deadline import Deadline
from .._errors import InvalidRequest
from .._request import Request
from .._response import Answer, Model

DESCRIBE_TIMEOUT = 5.0  # seconds that a finished picture waits for what is to be written into it

MODELS = ("diffusion", "text_encoder", "text_to_image", "unet", "vae_decoder")


class Question(Enum):
    """What can be asked of a server beside pictures."""

    READY = auto()  # bool
    VERSION = auto()  # str: Triton's
    CHECKPOINT = auto()  # Checkpoint, or None where the server does not say


class Transport(Protocol):
    """The way to one server. Safe for several threads; every error is a DiffusionError."""

    url: str  # as in messages
    streams: bool  # whether it can `stream`

    def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        """The only response of a model. `size` is that of the pictures in bytes, where they are to come through shared
        memory."""

    def stream(self, request: Request, deadline: Deadline) -> Generator[Answer]:
        """The responses of a decoupled model. The request is sent at the first `next`; closing cancels it."""

    def ask(self, question: Question, deadline: Deadline) -> Any: ...

    def model(self, name: str, deadline: Deadline) -> Model:
        """A model that is ready; raises where it is not."""

    def close(self) -> None:
        """Ends every call."""


class AsyncTransport(Protocol):
    """The same, for the tasks of one event loop."""

    url: str
    streams: bool

    async def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer: ...

    def stream(self, request: Request, deadline: Deadline) -> AsyncGenerator[Answer]: ...

    async def ask(self, question: Question, deadline: Deadline) -> Any: ...

    async def model(self, name: str, deadline: Deadline) -> Model: ...

    async def close(self) -> None: ...


def check_streaming(transport: Transport | AsyncTransport) -> None:
    """Raises InvalidRequest where `transport` cannot stream."""
    if not transport.streams:
        raise InvalidRequest(
            'stream() needs gRPC: use protocol="grpc", usually on port 8001', "protocol", "http", "grpc"
        )
