"""Events of a request, in order: Queued and Progress or Preview any number of times, then one of the last three.

The loop reports latents, float32 (N, C, h, w), wherever they are; the pipeline passes them on as images, uint8
(N, H, W, 3) RGB on the host.
"""

from dataclasses import dataclass
from typing import TypeAlias

from networks.arrays import Array


@dataclass(frozen=True)
class Queued:
    """Waiting for room in the loop; `position` 1 is next."""

    position: int


@dataclass(frozen=True)
class Progress:
    """`step` steps of the sampler are done; 0: the request has begun."""

    step: int


@dataclass(frozen=True, eq=False)
class Preview:
    """`step` steps are done, and this is the current estimate of the images."""

    step: int
    image: Array


@dataclass(frozen=True, eq=False)
class Completed:
    """All steps are done: the images."""

    image: Array


@dataclass(frozen=True, eq=False)
class Failed:
    """Ended without an image, and the reason."""

    reason: Exception


@dataclass(frozen=True)
class Cancelled:
    """Ended because nobody waits any more."""


Event: TypeAlias = Queued | Progress | Preview | Completed | Failed | Cancelled
