"""The command line: `triton-diffusion`. A group of commands is a module of this package that adds them to `app`."""

from . import generate, metadata, server, web
from ._app import app

__all__ = ["app", "generate", "metadata", "server", "web"]
