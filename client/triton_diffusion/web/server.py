"""The HTTP server of the page."""

import logging
import socket
from collections.abc import Callable, Sequence

import gradio as gr
import uvicorn
from fastapi import FastAPI

from .._transports.tls import Tls
from .page import THEME, Limits, Page, style

GRACE = 1  # seconds for open connections when the page ends


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # closing the visitors' connections is no error
        await super().shutdown(sockets)


def serve(
    urls: Sequence[str],
    http_url: str,
    host: str,
    port: int,
    limits: Limits,
    tls: Tls | None,
    listening: Callable[[str], None],
) -> None:
    """Serve the page until a signal ends it.

    urls: the servers' gRPC addresses; http_url: the HTTP address of one of them, for the code to copy. port: 0 for any
    that is free. tls: certificates for the servers. listening: called with the page's address. Raises OSError if the
    port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        page = Page(urls, http_url, limits, tls)
        app = FastAPI(openapi_url=None, lifespan=page.open)
        gr.mount_gradio_app(
            app,
            page.blocks(),
            "/",
            server_name=host,
            server_port=listener.getsockname()[1],
            footer_links=[],
            run_history=False,
            max_file_size=1,  # byte; nothing here takes files, but the address for them is there
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            theme=THEME,
            css=style(),
        )
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        listening(f"http://{shown}:{listener.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
        _Server(config).run(sockets=[listener])
