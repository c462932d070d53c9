"""`serving.json`: what a server needs of a checkpoint and diffusers has no field for, and defaults in place of others.

    {"guidance_scale": 5.0, "latent_rgb": {"weight": [[r, g, b], ... one row a latent channel], "bias": [r, g, b]},
     "sampler": "dpmpp_2m", "timestep_spacing": "karras", "num_inference_steps": 20}

Every key may be left out, and so may the file. `guidance_scale`, `sampler`, `timestep_spacing` and
`num_inference_steps` are the defaults of a request that names none, in place of the family's and of the scheduler's.
`latent_rgb` turns a latent into a small image for previews: rgb = latent @ weight + bias, in 0..1 before clamping.
"""

import json
import math
from pathlib import Path
from typing import Any

from export.errors import CheckpointError, quote
from export.loop import MAX_GUIDANCE_SCALE, MAX_STEPS, SAMPLERS, SPACINGS

FILE = "serving.json"
KEYS = ("guidance_scale", "latent_rgb", "sampler", "timestep_spacing", "num_inference_steps")


def read_serving(folder: Path, channels: int) -> dict[str, Any]:
    """What the file in `folder` holds, checked; `channels` of the checkpoint's latents. Raises CheckpointError."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        serving = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} is no readable JSON ({quote(error)}): mend it or delete it") from error
    if not isinstance(serving, dict) or not serving.keys() <= {*KEYS}:
        raise CheckpointError(f"{path} may hold {', '.join(KEYS)} and nothing else: mend it or delete it")
    scale = serving.get("guidance_scale", 1)
    if not _is_number(scale) or not 0 <= scale <= MAX_GUIDANCE_SCALE:
        raise CheckpointError(f"{path}: guidance_scale is {scale!r}: write a number in 0..{MAX_GUIDANCE_SCALE:g}")
    if "latent_rgb" in serving and not _is_latent_rgb(serving["latent_rgb"], channels):
        raise CheckpointError(
            f"{path}: latent_rgb must be a weight of {channels} rows [r, g, b] and a bias [r, g, b],"
            " all finite numbers: mend it or leave it out"
        )
    for key, allowed in (("sampler", SAMPLERS), ("timestep_spacing", SPACINGS)):
        if key in serving and serving[key] not in [*allowed]:
            raise CheckpointError(f"{path}: {key} is {serving[key]!r}: write one of {', '.join(allowed)}")
    steps = serving.get("num_inference_steps", 1)
    if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
        raise CheckpointError(f"{path}: num_inference_steps is {steps!r}: write a whole number in 1..{MAX_STEPS}")
    return serving


def _is_latent_rgb(value: Any, channels: int) -> bool:
    if not isinstance(value, dict) or value.keys() != {"weight", "bias"} or not isinstance(value["weight"], list):
        return False
    rows = [*value["weight"], value["bias"]]
    return len(rows) == channels + 1 and all(
        isinstance(row, list) and len(row) == 3 and all(map(_is_number, row)) for row in rows
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
