"""The app that every command joins, the options that many share, and the end of each: an exit code."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .._errors import DeadlineExceeded, DiffusionError, InvalidRequest, ServerUnavailable
from .._transports.address import ProtocolName
from .._transports.tls import Tls

EXIT_CODES: dict[type[Exception], int] = {InvalidRequest: 2, ServerUnavailable: 3, DeadlineExceeded: 4}
INTERRUPTED = 130

Url: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--url", help="host:port, by default localhost:8001 (grpc) or :8000 (http). Several: again with another server."
    ),
]
Protocol: TypeAlias = Annotated[ProtocolName | None, typer.Option(help="grpc, the default, shows progress.")]
TlsCa: TypeAlias = Annotated[
    Path | None,
    typer.Option(envvar="TRITON_DIFFUSION_TLS_CA", help="PEM file: the CA that signed the server's certificate."),
]
TlsCert: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="TRITON_DIFFUSION_TLS_CERT", help="PEM file: the client's certificate, for servers that want one."
    ),
]
TlsKey: TypeAlias = Annotated[
    Path | None, typer.Option(envvar="TRITON_DIFFUSION_TLS_KEY", help="PEM file: the key of that certificate.")
]
Timeout: TypeAlias = Annotated[float | None, typer.Option(help="Seconds for the whole call.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON, for scripts.")]

EPILOG = (
    "Exit codes: 0 done, 1 any other error, 2 bad request, 3 server unreachable or not ready, 4 deadline exceeded, "
    "130 interrupted."
)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback(epilog=EPILOG)
def main() -> None:
    """Images from a Triton Diffusion server."""


def tls_of(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | None:
    """The certificates that the options name; None if they name none. Raises InvalidRequest."""
    if not (ca or certificate or key):
        return None
    tls = Tls(ca, certificate, key)
    tls.context()  # now, whenever the client is made
    return tls


@contextmanager
def errors_in_one_line() -> Generator[None]:
    """Ends a command that fails with one line on standard error and its exit code."""
    try:
        yield
    except (DiffusionError, OSError) as error:
        typer.echo(f"triton-diffusion: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)) from None
    except KeyboardInterrupt:
        typer.echo("triton-diffusion: interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
