"""The check of TLS certificates and keys, before Triton makes it and says less."""

import ssl
from pathlib import Path

from launch_error import LaunchError


def check_files(certificate: Path, key: Path, authority: Path | None) -> None:
    """Raises LaunchError if a file is missing, or is not what it should be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for file in (certificate, key, authority):
        try:
            if file is not None:
                file.read_bytes()
        except OSError as error:
            raise LaunchError(f"{file} cannot be read: {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password="")  # an encrypted key fails, and asks nobody
    except (ssl.SSLError, ValueError) as error:
        raise LaunchError(
            f"{certificate} and {key} are no PEM certificate and its key, not encrypted ({_reason(error)})"
        ) from error
    if authority is not None:
        try:
            context.load_verify_locations(authority)
        except ssl.SSLError as error:
            raise LaunchError(f"{authority} holds no PEM certificate ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
