"""TLS certificates of client and server."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from .._errors import InvalidRequest

PemFile: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True)
class Tls:
    """Certificates for servers at "grpcs://" and "https://"; all are paths of PEM files.

    ca: whose signature makes a server's certificate good; by default those that this machine knows.
    certificate, key: the client's own, where servers want to know it. The key is not encrypted.
    """

    ca: PemFile | None = None
    certificate: PemFile | None = None
    key: PemFile | None = None

    def context(self) -> ssl.SSLContext:
        """For HTTP. Raises InvalidRequest where a file is missing, or is not what it should be."""
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest("tls has a certificate without a key, or a key without a certificate: use both", "tls")
        for name, file in (("ca", self.ca), ("certificate", self.certificate), ("key", self.key)):
            if file is not None:
                _check_readable(name, file)
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise InvalidRequest(
                f"tls.ca is {str(self.ca)!r}: use a PEM file of certificates", "tls", self.ca
            ) from None
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key, password="")  # an encrypted key asks nobody
            except (ssl.SSLError, ValueError):
                raise InvalidRequest(
                    f"tls has certificate {str(self.certificate)!r} and key {str(self.key)!r}: "
                    "use a PEM certificate and its own key, not encrypted",
                    "tls",
                    self.certificate,
                ) from None
        return context

    def contents(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """For gRPC: CA, key and certificate. Raises as `context`."""
        self.context()
        ca, key, certificate = (
            None if file is None else Path(file).read_bytes() for file in (self.ca, self.key, self.certificate)
        )
        return ca, key, certificate


def _check_readable(name: str, file: PemFile) -> None:
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"tls.{name} is {str(file)!r}, which cannot be read ({error.strerror}): use a PEM file", "tls", file
        ) from None
