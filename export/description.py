"""`checkpoint.json`: what the sampling loop must know of the checkpoint its engines were made from.

Clients read a part of it from the engines' configurations, which Triton sends to who asks.
"""

import json
from typing import Any

from export.checkpoint.components import Checkpoint
from export.checkpoint.schedule import STEPS_OFFSET
from export.specification import LATENT_CHANNELS, MAX_BATCH, Sizes

FOR_CLIENTS = ("name", "height", "width", "height_range", "width_range", "vae_factor", "guidance_scale")


def describe(checkpoint: Checkpoint, sizes: Sizes) -> dict[str, Any]:
    """The content of `checkpoint.json`. Heights and widths are in pixels, both ends of a range included."""
    return {
        "name": checkpoint.name,
        "schedule": checkpoint.schedule,
        "prediction_type": checkpoint.prediction_type,
        "steps_offset": STEPS_OFFSET,
        "latent_channels": LATENT_CHANNELS,
        "vae_factor": sizes.vae_factor,
        "height": sizes.height,
        "width": sizes.width,
        "height_range": [sizes.height_range.min, sizes.height_range.max],
        "width_range": [sizes.width_range.min, sizes.width_range.max],
        "max_batch": MAX_BATCH,
        "guidance_scale": checkpoint.guidance_scale,
        "latent_rgb": checkpoint.latent_rgb,
    }


def for_clients(description: dict[str, Any]) -> str:
    """What clients can ask for, in JSON: a parameter of the engines' configurations."""
    return json.dumps({name: description[name] for name in FOR_CLIENTS}, ensure_ascii=False)
