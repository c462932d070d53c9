"""What `Client.stream` yields."""

from dataclasses import dataclass
from typing import TypeAlias

from PIL.Image import Image


@dataclass(frozen=True)
class Progress:
    """`step` of `num_steps` is done; yielded once a step, counting from 1."""

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


Event: TypeAlias = Progress | Preview | Completed
