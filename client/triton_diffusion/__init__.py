"""Client of Triton Diffusion.

>>> from triton_diffusion import Client
>>> with Client("localhost:8001") as client:
...     (image,) = client.text_to_image("a red circle", seed=7)
...     image.save("out.png")
"""

from ._client import Client
from ._errors import DeadlineExceeded, DiffusionError, GenerationFailed, InvalidRequest, ServerUnavailable
from ._events import Completed, Event, Preview, Progress
from ._response import save_png

__all__ = [
    "Client",
    "Completed",
    "DeadlineExceeded",
    "DiffusionError",
    "Event",
    "GenerationFailed",
    "InvalidRequest",
    "Preview",
    "Progress",
    "ServerUnavailable",
    "save_png",
]
