"""The command line: `triton-diffusion`. A group of commands is a module of this package that adds them to `app`."""

from . import bench, generate, metadata, server
from ._app import app

__all__ = ["app", "bench", "generate", "metadata", "server"]
