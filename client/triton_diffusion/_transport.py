"""What carries requests to a server: addresses, and what every transport can do."""

import json
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from enum import Enum, auto
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args
from urllib.parse import urlsplit

from ._attempts import Deadline
from ._errors import InvalidRequest
from ._request import Request
from ._response import Answer, Checkpoint, Model
from ._tls import Tls

SharedMemory: TypeAlias = Literal["system", "cuda"]
ProtocolName: TypeAlias = Literal["grpc", "http"]

DESCRIBE_TIMEOUT = 5.0  # seconds that a finished picture waits for what is to be written into it

METRICS_PORT = 8002  # Triton's

MODELS = ("diffusion", "text_encoder", "text_to_image", "unet", "vae_decoder")

_PORTS = {"grpc": 8001, "http": 8000}  # Triton's
_SCHEMES: dict[str, tuple[ProtocolName, bool]] = {
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
    "http": ("http", False),
    "https": ("http", True),
}
_ALLOWED = '"host:port", or with grpc://, grpcs://, http:// or https:// before it'


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


def check_shared_memory(kind: SharedMemory | None, address: "Address") -> None:
    """Raises InvalidRequest where `kind` is none, or not to be had."""
    if kind is not None and (kind not in get_args(SharedMemory) or address.protocol != "grpc"):
        allowed = '"system" or "cuda", with gRPC'
        raise InvalidRequest(f"shared_memory is {kind!r}: use {allowed}", "shared_memory", kind, allowed)


def check_tls(tls: Tls | None, found: "Sequence[Address]") -> None:
    """Raises InvalidRequest where certificates are given for a connection that has none."""
    for address in found:
        if tls is not None and not address.tls:
            allowed = "grpcs:// or https:// before the address"
            raise InvalidRequest(
                f"url is {address.text!r}, and tls is given: use {allowed}", "url", address.text, allowed
            )


class Address(NamedTuple):
    """Where a server is."""

    protocol: ProtocolName
    tls: bool
    target: str  # host:port and what follows it, or another of gRPC's target names
    text: str  # as it was given

    @property
    def host(self) -> str:
        """The server's name or address."""
        found = re.search(r"(\[[^]]*\]|[^/:]+):\d+", self.target)
        return found[1] if found else self.target.partition("/")[0]

    @property
    def metrics(self) -> str:
        """host:port of the server's metrics, on Triton's own port."""
        return f"{self.host}:{METRICS_PORT}"


def addresses(url: str | Sequence[str] | None, protocol: ProtocolName | None) -> list[Address]:
    """The servers at `url`, at least one, all of one protocol. Raises InvalidRequest."""
    if protocol is not None and protocol not in get_args(ProtocolName):
        raise InvalidRequest(
            f'protocol is {protocol!r}: use "grpc" or "http"', "protocol", protocol, '"grpc" or "http"'
        )
    if url is None:
        url = f"localhost:{_PORTS[protocol or 'grpc']}"
    found = [_address(one, protocol) for one in ([url] if isinstance(url, str) else url)]
    if len({address.protocol for address in found}) != 1:
        raise InvalidRequest(f"url is {url!r}: use one address or more, all of one protocol", "url", url, _ALLOWED)
    return found


def _address(url: str, protocol: ProtocolName | None) -> Address:
    def refused(reason: str) -> InvalidRequest:
        return InvalidRequest(f"url is {url!r}{reason}: use {_ALLOWED}", "url", url, _ALLOWED)

    if not isinstance(url, str) or not url:
        raise refused("")
    scheme, separator, rest = url.partition("://")
    tls = False
    if separator and scheme in _SCHEMES:
        named, tls = _SCHEMES[scheme]
        if protocol not in (None, named):
            raise refused(f", and protocol {protocol!r}")
        protocol, url_without_scheme = named, rest
    else:
        url_without_scheme = url
    if protocol == "http":
        if separator and url_without_scheme is url:
            raise refused("")
        try:
            parts = urlsplit("//" + url_without_scheme)
            parts.port  # noqa: B018 - raises where it is no number
        except ValueError as error:
            raise refused(f" ({error})") from None
        if not parts.hostname:
            raise refused("")
    elif not url_without_scheme:
        raise refused("")
    return Address(protocol or "grpc", tls, url_without_scheme.rstrip("/"), url)


def transports(
    url: str | Sequence[str] | None,
    protocol: ProtocolName | None,
    shared_memory: SharedMemory | None,
    tls: Tls | None = None,
) -> list[Transport]:
    """The ways to the servers at `url`. Raises InvalidRequest."""
    found = addresses(url, protocol)
    check_shared_memory(shared_memory, found[0])
    check_tls(tls, found)
    # Imported here because each takes a tenth of a second or more.
    if found[0].protocol == "grpc":
        from ._grpc import GrpcTransport

        return [GrpcTransport(address, shared_memory, tls) for address in found]
    from ._http import HttpTransport

    return [HttpTransport(address, tls) for address in found]


def async_transports(
    url: str | Sequence[str] | None,
    protocol: ProtocolName | None,
    shared_memory: SharedMemory | None,
    tls: Tls | None = None,
) -> list[AsyncTransport]:
    """The same, for asyncio."""
    found = addresses(url, protocol)
    check_shared_memory(shared_memory, found[0])
    check_tls(tls, found)
    if found[0].protocol == "grpc":
        from ._grpc import AsyncGrpcTransport

        return [AsyncGrpcTransport(address, shared_memory, tls) for address in found]
    from ._http import AsyncHttpTransport

    return [AsyncHttpTransport(address, tls) for address in found]


def checkpoint(description: str) -> Checkpoint | None:
    """The checkpoint that the export describes in the parameter `checkpoint` of its models."""
    try:
        fields = json.loads(description)
        return Checkpoint(
            name=fields["name"],
            height=fields["height"],
            width=fields["width"],
            height_range=tuple(fields["height_range"]),
            width_range=tuple(fields["width_range"]),
            multiple=fields["vae_factor"],
            guidance_scale=fields["guidance_scale"],
        )
    except (ValueError, KeyError, TypeError):  # from an export that did not write it, or wrote something else
        return None
