"""`serving.json`: what a server needs of a checkpoint and diffusers has no field for, and defaults in place of others.

    {"guidance_scale": 5.0, "latent_rgb": {"weight": [[r, g, b], ... one row a latent channel], "bias": [r, g, b]},
     "sampler": "dpmpp_2m", "timestep_spacing": "karras", "num_inference_steps": 20}

Every key may be left out, and so may the file. `guidance_scale`, `sampler`, `timestep_spacing` and
`num_inference_steps` are the defaults of a request that names none, in place of the family's and of the scheduler's.
With a `sampler` here, a checkpoint is exported whose own scheduler no sampler equals; with a `timestep_spacing`, one
whose grid no spacing equals.
`latent_rgb` turns a latent into a small image for previews: rgb = latent @ weight + bias, in 0..1 before clamping.
"""

import json
import math
from pathlib import Path
from typing import Any

from export.errors import CheckpointError, quote
from export.loop import SAMPLERS, SPACINGS, limits

FILE = "serving.json"
FLOAT = int | float
KEYS = ("guidance_scale", "latent_rgb", "sampler", "timestep_spacing", "num_inference_steps")


def read_serving(folder: Path, channels: int) -> dict[str, Any]:
    """The content of the file in `folder`, checked; `channels` of the checkpoint's latents. Raises CheckpointError."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        serving = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} is no readable JSON ({quote(error)}): mend it or delete it") from error
    if not isinstance(serving, dict) or not serving.keys() <= {*KEYS}:
        raise CheckpointError(f"{path} may hold {', '.join(KEYS)} and nothing else: mend it or delete it")
    for key, kinds in (("guidance_scale", FLOAT), ("num_inference_steps", int)):
        low, high = limits(key)
        if key in serving and not (_is_number(serving[key], kinds) and low <= serving[key] <= high):
            number = "whole number" if kinds is int else "number"
            raise CheckpointError(f"{path}: {key} is {serving[key]!r}: write a {number} from {low:g} to {high:g}")
    if "latent_rgb" in serving and not _is_latent_rgb(serving["latent_rgb"], channels):
        raise CheckpointError(
            f"{path}: latent_rgb must be a weight of {channels} rows [r, g, b] and a bias [r, g, b],"
            " all finite numbers: mend it or leave it out"
        )
    for key, allowed in (("sampler", SAMPLERS), ("timestep_spacing", SPACINGS)):
        if key in serving and serving[key] not in [*allowed]:
            raise CheckpointError(f"{path}: {key} is {serving[key]!r}: write one of {', '.join(allowed)}")
    return serving


def _is_latent_rgb(value: Any, channels: int) -> bool:
    if not isinstance(value, dict) or value.keys() != {"weight", "bias"} or not isinstance(value["weight"], list):
        return False
    rows = [*value["weight"], value["bias"]]
    return len(rows) == channels + 1 and all(
        isinstance(row, list) and len(row) == 3 and all(map(_is_number, row)) for row in rows
    )


def _is_number(value: Any, kinds: Any = FLOAT) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
