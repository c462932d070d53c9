"""Events: the items that `Client.stream` yields."""

from dataclasses import dataclass
from typing import TypeAlias

from PIL.Image import Image


@dataclass(frozen=True)
class Queued:
    """The request waits for room on the server; `position` 1 is next. Comes only while it waits: on arrival, at
    every change of a place among the first eight, and at least once a second."""

    position: int


@dataclass(frozen=True)
class Progress:
    """`step` of `num_steps` is done; yielded once a step. Step 0 says that the first one starts.

    Steps are the sampler's: `num_steps` is `num_inference_steps`, also where a sampler makes two denoiser calls a step.
    """

    step: int
    num_steps: int


@dataclass(frozen=True)
class Preview:
    """The images as they would be if sampling stopped at `step`: `num_images` small RGB images.

    Follows the `Progress` of the same step.
    """

    step: int
    num_steps: int
    images: list[Image]


@dataclass(frozen=True)
class Completed:
    """The images, as `Client.text_to_image` returns them; always the last event."""

    images: list[Image]


Event: TypeAlias = Queued | Progress | Preview | Completed
