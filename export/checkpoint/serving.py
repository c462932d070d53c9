"""`serving.json`: what a server needs of a checkpoint and diffusers has no field for.

    {"guidance_scale": 5.0, "latent_rgb": {"weight": [[r, g, b], ... one row a latent channel], "bias": [r, g, b]}}

Both keys may be left out, and so may the file. `guidance_scale` is the default of a request that names none.
`latent_rgb` turns a latent into a small picture for previews: rgb = latent @ weight + bias, in 0..1 before clamping.
"""

import json
import math
from pathlib import Path
from typing import Any

from export.errors import CheckpointError, quote
from export.specification import LATENT_CHANNELS

MAX_GUIDANCE_SCALE = 50.0

# Stable Diffusion 1.x: https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204, whose map
# gives -1..1 and is halved and shifted here.
DEFAULTS: dict[str, Any] = {
    "guidance_scale": 7.5,
    "latent_rgb": {
        "weight": [
            [0.149, 0.1035, 0.104],
            [0.0935, 0.143, 0.0865],
            [-0.079, 0.0945, 0.132],
            [-0.092, -0.1355, -0.2365],
        ],
        "bias": [0.5, 0.5, 0.5],
    },
}


def read_serving(folder: Path) -> dict[str, Any]:
    """`guidance_scale` and `latent_rgb` of the checkpoint in `folder`, defaults filled in."""
    path = folder / "serving.json"
    if not path.exists():
        return DEFAULTS
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} is no readable JSON ({quote(error)}): mend it or delete it") from error
    if not isinstance(given, dict) or not given.keys() <= DEFAULTS.keys():
        raise CheckpointError(f"{path} may hold {' and '.join(DEFAULTS)} and nothing else: mend it or delete it")
    serving = {**DEFAULTS, **given}
    scale = serving["guidance_scale"]
    if not _is_number(scale) or not 0 <= scale <= MAX_GUIDANCE_SCALE:
        raise CheckpointError(f"{path}: guidance_scale is {scale!r}: write a number in 0..{MAX_GUIDANCE_SCALE:g}")
    if not _is_latent_rgb(serving["latent_rgb"]):
        raise CheckpointError(
            f"{path}: latent_rgb must be a weight of {LATENT_CHANNELS} rows [r, g, b] and a bias [r, g, b],"
            " all finite numbers: mend it or leave it out"
        )
    return serving


def _is_latent_rgb(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"weight", "bias"} or not isinstance(value["weight"], list):
        return False
    rows = [*value["weight"], value["bias"]]
    return len(rows) == LATENT_CHANNELS + 1 and all(
        isinstance(row, list) and len(row) == 3 and all(map(_is_number, row)) for row in rows
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
