"""The command line: `triton-diffusion`. A group of commands is a module of this package that adds them to `app`."""

from . import bench, gateway, generate, metadata, server, web
from ._app import app, errors_in_one_line

__all__ = ["app", "bench", "errors_in_one_line", "gateway", "generate", "metadata", "server", "web"]
