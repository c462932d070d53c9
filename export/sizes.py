"""Image sizes that an export is made for."""

import re

from export.checkpoint.components import Checkpoint
from export.errors import RequestError
from export.specification import Range, Sizes


def choose_sizes(checkpoint: Checkpoint, height: str | None, width: str | None) -> Sizes:
    """The sizes for `--height` and `--width`, each "N" or "MIN:MAX" pixels; None is the size of the training."""
    native_height, native_width = checkpoint.native_size
    heights = _parse("height", str(native_height) if height is None else height, checkpoint.vae_factor)
    widths = _parse("width", str(native_width) if width is None else width, checkpoint.vae_factor)
    return Sizes(
        height=_clamp(native_height, heights),
        width=_clamp(native_width, widths),
        height_range=heights,
        width_range=widths,
        vae_factor=checkpoint.vae_factor,
    )


def _parse(name: str, text: str, vae_factor: int) -> Range:
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if not match:
        raise RequestError(f"--{name} is {text!r}: write pixels, such as 512, or a range, such as 256:768")
    sizes = Range(int(match[1]), int(match[2] or match[1]))
    # Two latent cells, because torch.export takes an axis of one for a constant.
    bound = 2 * vae_factor
    if sizes.min % vae_factor or sizes.max % vae_factor or not bound <= sizes.min <= sizes.max:
        raise RequestError(
            f"--{name} is {text}: write multiples of {vae_factor} pixels, at least {bound}, the smaller one first"
        )
    return sizes


def _clamp(size: int, sizes: Range) -> int:
    return min(max(size, sizes.min), sizes.max)
