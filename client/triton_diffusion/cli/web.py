"""`triton-diffusion serve-web`: the page."""

from typing import Annotated

import typer

from .._errors import DiffusionError
from .._transports.address import addresses
from ._app import EPILOG, TlsCa, TlsCert, TlsKey, Url, app, errors_in_one_line, tls_of

LOCAL = ("127.0.0.1", "::1", "localhost")
HTTP_PORT = 8000  # Triton's


@app.command(epilog=EPILOG)
def serve_web(
    url: Url = None,
    host: Annotated[str, typer.Option(help="Address to listen on. The page asks for no password.")] = LOCAL[0],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
    http_url: Annotated[
        str | None, typer.Option(help=f"The server in 'copy as curl'; by default its host, port {HTTP_PORT}")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Images in the making, of all visitors.")] = 8,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that wait for a place; more are refused.")] = 32,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one image.")] = 300.0,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Serve a page that makes images while you watch."""
    with errors_in_one_line():
        servers, tls = addresses(url, "grpc"), tls_of(tls_ca, tls_cert, tls_key)
        try:
            from ..web.page import Limits
            from ..web.server import serve
        except ModuleNotFoundError as error:
            needed = "pip install 'triton-diffusion[web]'"
            raise DiffusionError(f"serve-web needs {error.name}: {needed}") from None
        if host not in LOCAL:
            typer.echo(f"triton-diffusion: whoever reaches {host} may use this page; it asks for no password", err=True)
        serve(
            [server.text for server in servers],
            http_url or f"{servers[0].host}:{HTTP_PORT}",
            host,
            port,
            Limits(at_once, waiting, timeout),
            tls,
            lambda address: typer.echo(f"the page is at {address}"),
        )
