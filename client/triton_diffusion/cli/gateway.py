"""`triton-diffusion gateway` and `triton-diffusion gateway-key`: the OpenAI-compatible gateway, and its keys."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from .._async_client import AsyncClient
from .._errors import DiffusionError, InvalidRequest
from .._transports import keepalive
from .._transports.address import addresses
from .._transports.tls import Tls
from ._app import EPILOG, TlsCa, TlsCert, TlsKey, Url, app, errors_in_one_line, tls_of

DRAIN = 25  # seconds that running generations have to end when the gateway is told to; Kubernetes kills after 30

KeysFile = Annotated[Path | None, typer.Option("--keys", help="File of API keys; read again when it changes.")]


@app.command(epilog=EPILOG)
def gateway(
    url: Url = None,
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's own needs --keys.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one, and tells which.")] = 8080,
    keys_file: KeysFile = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Generations of one key at once.")] = 8,
    max_body: Annotated[int, typer.Option(min=1, help="Most bytes of a request's body.")] = 64 * 1024,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one generation, waiting included.")] = 600.0,
    retries: Annotated[int, typer.Option(min=0, help="Tries after the first, if the server is lost or busy.")] = 3,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    listen_cert: Annotated[
        Path | None, typer.Option(help="PEM file: take callers over TLS, with this certificate.")
    ] = None,
    listen_key: Annotated[Path | None, typer.Option(help="PEM file: that certificate's key.")] = None,
    trace_url: Annotated[
        str | None, typer.Option(help="URL to send OpenTelemetry's spans to: http://collector:4318/v1/traces")
    ] = None,
) -> None:
    """Answer OpenAI's images API: POST /v1/images/generations, GET /v1/models; and /healthz, /readyz, /metrics.

    client = openai.OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="any")

    The log on standard error has a JSON object a line, one for every request.
    """
    with errors_in_one_line():
        package, uvicorn = _imported()
        keys = None if keys_file is None else package.Keys(keys_file)
        if keys is None and not _is_loopback(host):
            raise InvalidRequest(f"host is {host!r}, and anybody could ask: use --keys with it, or 127.0.0.1", "host")
        if listen_cert or listen_key:
            Tls(certificate=listen_cert, key=listen_key).context()  # uvicorn would say less of what is wrong
        servers = ", ".join(address.text for address in addresses(url, "grpc"))
        client = AsyncClient(url, "grpc", retries=retries, tls=tls_of(tls_ca, tls_cert, tls_key))
        application = package.create_app(
            client, keys=keys, concurrency=concurrency, max_body=max_body, timeout=timeout, trace_url=trace_url
        )
        with _listener(host, port) as listener:
            shown = f"[{host}]" if ":" in host else host
            who = "anybody here" if keys is None else f"{len(keys)} keys"
            scheme = "https" if listen_cert else "http"
            typer.echo(f"{scheme}://{shown}:{listener.getsockname()[1]}/v1 for {who}, from {servers}")
            config = uvicorn.Config(
                application,
                server_header=False,
                timeout_graceful_shutdown=DRAIN,
                ssl_certfile=listen_cert,
                ssl_keyfile=listen_key,
                log_config=package.LOGGING,
                access_log=False,
            )
            uvicorn.Server(config).run(sockets=[listener])


@app.command(epilog=EPILOG)
def gateway_key(
    name: Annotated[str, typer.Argument(help="Owner of the key: in the metrics, and for the limit of each key.")],
    keys_file: Annotated[Path, typer.Option("--keys", help="File that the key's hash is added to.")],
    priority: Annotated[str | None, typer.Option(help="low, normal or high: order of admission on the server")] = None,
) -> None:
    """Make an API key for the gateway: prints it, once, and adds its hash to the file."""
    with errors_in_one_line():
        package, _ = _imported()
        key, line = package.new_key(name, priority)
        with open(os.open(keys_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write(line)
        typer.echo(key)


def _imported() -> tuple[Any, Any]:
    """The gateway's package, and uvicorn."""
    # Imported here because the extra may not be installed, and takes half a second if it is.
    try:
        import uvicorn

        from .. import gateway as package
    except ModuleNotFoundError as error:
        raise DiffusionError(f"{error.name} is not installed: pip install 'triton-diffusion[web]'") from error
    return package, uvicorn


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    for option in keepalive.SOCKET:
        listener.setsockopt(*option)
    return listener
