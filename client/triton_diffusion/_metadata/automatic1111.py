"""The text of AUTOMATIC1111's web UI that names an image's settings, which many programs read.

    a castle in the fog
    Negative prompt: people
    Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 512x768, Model: v1-5-pruned

A setting that it has no name for stands under its own.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress

from .._request import Value
from .._settings import DATATYPES
from .._version import __version__

# Its names by ours. The server understands them too; they are here so that a file says what its readers look for. It
# has no name for `tcd`.
SAMPLERS = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "unipc": "UniPC",
    "deis": "DEIS",
    "pndm": "PLMS",
    "lcm": "LCM",
}
SCHEDULES = {
    "karras": "Karras",
    "exponential": "Exponential",
    "beta": "Beta",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "normal": "Normal",
    "ays": "Align Your Steps",
    # diffusers' own, in its manner.
    "leading": "Leading",
    "trailing": "Trailing",
    "linspace": "Linspace",
}
_OUR_SAMPLERS = {theirs: ours for ours, theirs in SAMPLERS.items()}
_OUR_SCHEDULES = {theirs: ours for ours, theirs in SCHEDULES.items()} | {"Uniform": "normal"}
_NUMBERS = {"Steps": "num_inference_steps", "CFG scale": "guidance_scale", "Seed": "seed", "Eta": "eta"}
_NAMED = {"prompt", "negative_prompt", "sampler", "timestep_spacing", "height", "width", *_NUMBERS.values()}
_UNNAMED = [name for name in DATATYPES if name not in _NAMED]
_READERS: dict[str, Callable[[str], Value]] = {"BYTES": str, "INT32": int, "INT64": int, "FP32": float}
_ENTRY = re.compile(r'\s*(\w[\w \-/]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')


def parameters_text(settings: Mapping[str, Value]) -> str:
    """The text of an image's settings."""
    lines = [str(settings.get("prompt", ""))]
    if settings.get("negative_prompt"):
        lines.append(f"Negative prompt: {settings['negative_prompt']}")
    sampler, spacing = str(settings.get("sampler", "")), str(settings.get("timestep_spacing", ""))
    entries = {
        "Steps": settings.get("num_inference_steps"),
        "Sampler": SAMPLERS.get(sampler, sampler),
        "Schedule type": SCHEDULES.get(spacing, spacing),
        "CFG scale": settings.get("guidance_scale"),
        "Seed": settings.get("seed"),
        "Size": f"{settings['width']}x{settings['height']}" if "width" in settings and "height" in settings else None,
        "Model": settings.get("model"),
        "Eta": settings.get("eta"),
        **{name: settings.get(name) for name in _UNNAMED},
        "Version": f"triton-diffusion {__version__}",
    }
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in entries.items() if value not in (None, "")))
    return "\n".join(lines)


def from_parameters_text(text: str) -> dict[str, Value]:
    """The settings in such a text, or {} for any other text. Names that are not known here stay as they are, for the
    server to know or to refuse."""
    *lines, last = text.strip().split("\n")
    entries = {name: _unquoted(value.strip()) for name, value in _ENTRY.findall(last)}
    if "Steps" not in entries:
        return {}
    prompt, _, negative = "\n".join(lines).partition("Negative prompt: ")
    settings: dict[str, Value] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    sampler, schedule = entries.get("Sampler", ""), entries.get("Schedule type", "")
    for name in _OUR_SCHEDULES:  # before version 1.9 the schedule was part of the sampler's name
        if sampler.endswith(f" {name}"):
            sampler, schedule = sampler.removesuffix(f" {name}"), name
    if sampler:
        settings["sampler"] = _OUR_SAMPLERS.get(sampler, sampler)
    if schedule not in ("", "Automatic"):
        settings["timestep_spacing"] = _OUR_SCHEDULES.get(schedule, schedule)
    for name, field in (_NUMBERS | {name: name for name in _UNNAMED}).items():
        if name in entries:
            with suppress(ValueError):  # another program's idea of it
                settings[field] = _READERS[DATATYPES[field]](entries[name])
    if size := re.fullmatch(r"(\d+)x(\d+)", entries.get("Size", "")):
        settings["width"], settings["height"] = int(size[1]), int(size[2])
    if "Model" in entries:
        settings["model"] = entries["Model"]
    return settings


def _quoted(value: object) -> str:
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:"\n]', text) else text


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value
