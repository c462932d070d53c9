"""The description of a server for readers of a terminal."""

import textwrap

from .._checkpoint import Checkpoint

WIDTH = 100  # characters of a line
_SHOWN = ("height", "width", "sampler", "timestep_spacing")  # fields with lines of their own


def described(checkpoint: Checkpoint) -> str:
    """The checkpoint, its defaults and limits, its samplers with their default spacings and other names."""
    sizes = f"{_range(checkpoint.width_range)} x {_range(checkpoint.height_range)}"
    paragraphs = [
        f"checkpoint {checkpoint.name}: {sizes} pixels in multiples of {checkpoint.multiple}, by default "
        f"{checkpoint.width}x{checkpoint.height}, {checkpoint.num_inference_steps} steps of {checkpoint.sampler} "
        f"({checkpoint.timestep_spacing}), at guidance {checkpoint.guidance_scale:g}"
    ]
    for name, sampler in checkpoint.samplers.items():
        options = f" and {', '.join(sampler.options)}" if sampler.options else ""
        paragraphs.append(f"sampler {name}: {sampler.timestep_spacing}{options}{_other_names(checkpoint, name)}")
    if checkpoint.timestep_spacings:
        paragraphs.append(f"timestep spacings: {', '.join(checkpoint.timestep_spacings)}")
    paragraphs += [
        f"{field}: {allowed}{_default(checkpoint, field)}"
        for field, allowed in checkpoint.limits.items()
        if field not in _SHOWN
    ]
    networks = (f"{samples} of {name}" for name, samples in checkpoint.networks.items())
    paragraphs.append(f"samples in one call, at most: {', '.join(networks)}")
    return "\n".join(textwrap.fill(each, WIDTH, subsequent_indent="    ") for each in paragraphs)


def _other_names(checkpoint: Checkpoint, sampler: str) -> str:
    names = [
        name if spacing is None else f"{name} ({spacing})"
        for name, (meant, spacing) in checkpoint.aliases.items()
        if meant == sampler
    ]
    return f"; also {', '.join(names)}" if names else ""


def _default(checkpoint: Checkpoint, field: str) -> str:
    default = checkpoint.defaults.get(field, "")
    return "" if default == "" else f", by default {default}"


def _range(pixels: tuple[int, int]) -> str:
    low, high = pixels
    return f"{low}" if low == high else f"{low} to {high}"
