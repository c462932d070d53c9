"""A gateway for OpenAI's clients: `POST /v1/images/generations` and `GET /v1/models`, in front of Triton's gRPC.

`triton-diffusion gateway` runs it; `create_app` makes the same ASGI application for a program of one's own. It needs
the extra `web`.
"""

from ._app import create_app
from ._keys import Keys, new_key
from ._log import LOGGING

__all__ = ["LOGGING", "Keys", "create_app", "new_key"]
