"""The checkpoint that a server serves, as the server describes it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ._request import Value


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint that a server serves. Heights and widths are in pixels, both ends of a range included."""

    name: str
    height: int  # of a request that names none
    width: int
    height_range: tuple[int, int]
    width_range: tuple[int, int]
    multiple: int  # that heights and widths must be of
    guidance_scale: float  # of a request that names none

    def image_bytes(self, fields: Mapping[str, Value]) -> int:
        """The size of all pictures of a request for `fields`: UINT8 [N,H,W,3]."""
        height, width = int(fields.get("height", self.height)), int(fields.get("width", self.width))
        return int(fields.get("num_images", 1)) * height * width * 3


def checkpoint(description: str) -> Checkpoint | None:
    """The checkpoint that the export describes in the parameter `checkpoint` of its models."""
    try:
        fields = json.loads(description)
        return Checkpoint(
            name=fields["name"],
            height=fields["height"],
            width=fields["width"],
            height_range=tuple(fields["height_range"]),
            width_range=tuple(fields["width_range"]),
            multiple=fields["vae_factor"],
            guidance_scale=fields["guidance_scale"],
        )
    except (ValueError, KeyError, TypeError):  # from an export that did not write it, or wrote something else
        return None
