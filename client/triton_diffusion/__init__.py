"""Client of Triton Diffusion: text to image, served by Triton Inference Server.

>>> from triton_diffusion import Client
>>> with Client("localhost:8001") as client:
...     (image,) = client.text_to_image("a red circle", seed=7)
...     image.save("out.png")

- `Client` and, awaited, `AsyncClient`: `text_to_image` returns PIL images, `stream` yields events, `models`,
  `checkpoint` and `is_ready` tell about the server. Over gRPC or HTTP, to one server or several.
- `Queued`, `Progress`, `Preview`, `Completed`: the events of `stream`; `Event` is any of them.
- `DiffusionError` and below it `InvalidRequest`, `ServerUnavailable` (`ServerOverloaded`, `WrongServer`),
  `DeadlineExceeded` and `GenerationFailed`: what calls raise.
- `Settings` and `StreamSettings`: the arguments of `text_to_image` and `stream`, as typed dictionaries.
- `save_png` writes an image with its settings; `read_settings` reads them from a file, and `arguments_of` picks those
  that `text_to_image` takes.
- `MockTransport`: a client without a server, for tests: `Client(transport=MockTransport())`.
- `Tls`: certificates, for `Client("grpcs://...", tls=Tls(ca="ca.pem"))`.
- `Checkpoint`, its `Sampler`s, `Model`: the server's description of itself; `server_metrics` reads its `ServerMetrics`,
  with `NetworkMetrics` of each network.
"""

from ._async_client import AsyncClient
from ._checkpoint import Checkpoint, Sampler
from ._client import Client
from ._errors import (
    DeadlineExceeded,
    DiffusionError,
    GenerationFailed,
    InvalidRequest,
    ServerOverloaded,
    ServerUnavailable,
    WrongServer,
)
from ._events import Completed, Event, Preview, Progress, Queued
from ._metadata import arguments_of, read_settings, save_png
from ._metrics import NetworkMetrics, ServerMetrics, server_metrics
from ._response import Model
from ._settings import Settings, StreamSettings
from ._transports.mock import MockTransport
from ._transports.tls import Tls
from ._version import __version__

__all__ = [
    "AsyncClient",
    "Checkpoint",
    "Client",
    "Completed",
    "DeadlineExceeded",
    "DiffusionError",
    "Event",
    "GenerationFailed",
    "InvalidRequest",
    "MockTransport",
    "Model",
    "NetworkMetrics",
    "Preview",
    "Progress",
    "Queued",
    "Sampler",
    "ServerMetrics",
    "ServerOverloaded",
    "ServerUnavailable",
    "Settings",
    "StreamSettings",
    "Tls",
    "WrongServer",
    "__version__",
    "arguments_of",
    "read_settings",
    "save_png",
    "server_metrics",
]
