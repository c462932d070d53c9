"""A server's description of itself, as the export writes it into the configuration of the model `diffusion`."""

import json
from typing import Any

DESCRIBED: dict[str, Any] = {
    "name": "shapes",
    "height": 128,
    "width": 128,
    "height_range": [64, 128],
    "width_range": [64, 256],
    "vae_factor": 8,
    "defaults": {
        "sampler": "pndm",
        "timestep_spacing": "leading",
        "num_inference_steps": 25,
        "guidance_scale": 2.0,
    },
    "networks": {"denoiser": {"max_batch": 16}, "vae_decoder": {"max_batch": 8}},
    "samplers": {
        "ddim": {"timestep_spacing": "trailing", "options": ["eta"]},
        "dpmpp_2m": {"timestep_spacing": "karras", "options": []},
        "euler_ancestral": {"timestep_spacing": "linspace", "options": ["eta"]},
        "pndm": {"timestep_spacing": "trailing", "options": []},
    },
    "timestep_spacings": ["leading", "trailing", "linspace", "karras"],
    "aliases": {
        "Euler a": ["euler_ancestral", None],
        "PLMS": ["pndm", None],
        "DPM++ 2M Karras": ["dpmpp_2m", "karras"],
    },
    "fields": {
        "num_images": {"datatype": "INT32", "shape": [1], "allowed": "1 to 8", "range": [1, 8], "default": 1},
        "num_inference_steps": {"datatype": "INT32", "shape": [1], "allowed": "1 to 1000", "range": [1, 1000]},
        "eta": {"datatype": "FP32", "shape": [1], "allowed": "0 to 1", "range": [0.0, 1.0]},
        "priority": {"datatype": "STRING", "shape": [1], "allowed": "low, normal, high", "default": "normal"},
    },
}
DESCRIPTION = json.dumps(DESCRIBED)
