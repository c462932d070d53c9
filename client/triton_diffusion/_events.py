"""What `Client.stream` yields."""

from dataclasses import dataclass
from typing import TypeAlias

from PIL.Image import Image


@dataclass(frozen=True)
class Queued:
    """The request waits for room on the server; `position` 1 is next. Comes only while it waits, and not for every
    place: for each of the first eight, and whenever the way to them has halved."""

    position: int


@dataclass(frozen=True)
class Progress:
    """`step` of `num_steps` is done; yielded once a step. Step 0 says that the first one starts."""

    step: int
    num_steps: int


@dataclass(frozen=True)
class Preview:
    """What the pictures would be if sampling stopped at `step`: `num_images` small RGB images.

    Follows the `Progress` of the same step.
    """

    step: int
    num_steps: int
    images: list[Image]


@dataclass(frozen=True)
class Completed:
    """The pictures, as `Client.text_to_image` returns them; always the last event."""

    images: list[Image]


Event: TypeAlias = Queued | Progress | Preview | Completed
