"""Transports by address and protocol."""

from collections.abc import Sequence
from typing import get_args

from .._errors import InvalidRequest
from .address import Address, ProtocolName, addresses
from .shared_memory import SharedMemory
from .tls import Tls
from .transport import AsyncTransport, Transport


def transports(
    url: str | Sequence[str] | None,
    protocol: ProtocolName | None,
    shared_memory: SharedMemory | None,
    tls: Tls | None = None,
) -> list[Transport]:
    """The transports to the servers at `url`, for threads. Raises InvalidRequest."""
    found = _checked(url, protocol, shared_memory, tls)
    # Imported here because each takes a tenth of a second or more.
    if found[0].protocol == "grpc":
        from .grpc import GrpcTransport

        return [GrpcTransport(address, shared_memory, tls) for address in found]
    from .http import HttpTransport

    return [HttpTransport(address, tls) for address in found]


def async_transports(
    url: str | Sequence[str] | None,
    protocol: ProtocolName | None,
    shared_memory: SharedMemory | None,
    tls: Tls | None = None,
) -> list[AsyncTransport]:
    """The transports to the servers at `url`, for asyncio. Raises InvalidRequest."""
    found = _checked(url, protocol, shared_memory, tls)
    if found[0].protocol == "grpc":
        from .grpc import AsyncGrpcTransport

        return [AsyncGrpcTransport(address, shared_memory, tls) for address in found]
    from .http import AsyncHttpTransport

    return [AsyncHttpTransport(address, tls) for address in found]


def _checked(
    url: str | Sequence[str] | None, protocol: ProtocolName | None, shared_memory: SharedMemory | None, tls: Tls | None
) -> list[Address]:
    found = addresses(url, protocol)
    if shared_memory is not None and (shared_memory not in get_args(SharedMemory) or found[0].protocol != "grpc"):
        allowed = '"system" or "cuda", with gRPC'
        raise InvalidRequest(
            f"shared_memory is {shared_memory!r}: use {allowed}", "shared_memory", shared_memory, allowed
        )
    for address in found:
        if tls is not None and not address.tls:
            allowed = "grpcs:// or https:// before the address"
            raise InvalidRequest(
                f"url is {address.text!r}, and tls is given: use {allowed}", "url", address.text, allowed
            )
    return found
