"""Addresses: where servers are, and by which protocol."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args
from urllib.parse import urlsplit

from .._errors import InvalidRequest

ProtocolName: TypeAlias = Literal["grpc", "http"]

METRICS_PORT = 8002  # Triton's

_PORTS = {"grpc": 8001, "http": 8000}  # Triton's
_SCHEMES: dict[str, tuple[ProtocolName, bool]] = {
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
    "http": ("http", False),
    "https": ("http", True),
}
_ALLOWED = '"host:port", or with grpc://, grpcs://, http:// or https:// before it'


class Address(NamedTuple):
    """The address of a server."""

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
