"""Description of an export: `checkpoint.json` for the loop, and the part of it that clients may ask for.

It is the list of the exported networks and their batch limits. Clients read their part from the configuration of
`diffusion`, which Triton sends to who asks.
"""

import json
from collections.abc import Mapping
from typing import Any

from export.checkpoint.components import Checkpoint
from export.loop import ALIASES, FIELDS, SAMPLERS, SPACINGS, Field, Integer, Number
from export.specification import Network, Sizes

FOR_CLIENTS = ("name", "height", "width", "height_range", "width_range", "vae_factor", "defaults")


def describe(checkpoint: Checkpoint, sizes: Sizes, networks: Mapping[str, Network]) -> dict[str, Any]:
    """The content of `checkpoint.json`. Heights and widths are in pixels, both ends of a range included."""
    return {
        "name": checkpoint.name,
        "family": checkpoint.family.name,
        "schedule": checkpoint.schedule,
        "latent_channels": checkpoint.family.latent.channels,
        "vae_factor": sizes.vae_factor,
        "latent_rgb": checkpoint.latent_rgb,
        "height": sizes.height,
        "width": sizes.width,
        "height_range": [sizes.height_range.min, sizes.height_range.max],
        "width_range": [sizes.width_range.min, sizes.width_range.max],
        "tokenizers": {
            name: tokenizer_file(source.tokenizer) for name, source in checkpoint.family.text_inputs.items()
        },
        "networks": {
            name: {
                "max_batch": network.max_batch,
                "inputs": [tensor.name for tensor in network.inputs],
                "outputs": [tensor.name for tensor in network.outputs],
            }
            for name, network in networks.items()
        },
        "defaults": checkpoint.defaults,
    }


def tokenizer_file(component: str) -> str:
    """The file beside `checkpoint.json` of the tokenizer of that component."""
    return f"{component}.json"


def for_clients(description: Mapping[str, Any]) -> str:
    """The part of the description that clients may ask for, and the choices of a request, in JSON."""
    told = {name: description[name] for name in FOR_CLIENTS}
    networks = {name: {"max_batch": network["max_batch"]} for name, network in description["networks"].items()}
    samplers = {
        name: {"timestep_spacing": sampler.timestep_spacing, "options": [*sampler.options]}
        for name, sampler in SAMPLERS.items()
    }
    choices = {
        "networks": networks,
        "samplers": samplers,
        "timestep_spacings": [*SPACINGS],
        "aliases": {name: [*meaning] for name, meaning in ALIASES.items()},
        "fields": {field.name: _field(field) for field in FIELDS},
    }
    return json.dumps({**told, **choices}, ensure_ascii=False)


def _field(field: Field) -> dict[str, Any]:
    told: dict[str, Any] = {"datatype": field.datatype, "shape": [*field.shape], "allowed": field.allowed}
    if isinstance(field, Integer | Number):
        told["range"] = [field.low, field.high]
    return told if field.default is None else {**told, "default": field.default}
