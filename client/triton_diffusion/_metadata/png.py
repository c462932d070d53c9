"""What a picture was made with: complete in `image.info`, and kept in PNG files.

A file holds the settings twice. The chunk `triton_diffusion` is JSON with the names of the arguments. The chunk
`parameters` is the text that AUTOMATIC1111's web UI writes and many programs read.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .._checkpoint import Checkpoint
from .._errors import InvalidRequest
from .._request import DATATYPES, Request, Value
from .._version import __version__

DEFAULT_STEPS = 20
DEFAULT_SAMPLER = "dpmpp_2m"
DEFAULT_SPACING = {"ddpm": "trailing", "ddim": "trailing", "dpmpp_2m": "karras", "dpmpp_2m_sde": "karras"}

# Of several pictures each is made again alone, by its own seed; whose turn it was, and looking at it on the way, change
# nothing.
_NOT_OF_ONE_PICTURE = ("num_images", "priority", "preview_interval")
_CHUNK = "triton_diffusion"

# AUTOMATIC1111's names of ours.
_SAMPLERS = {"ddpm": "DDPM", "ddim": "DDIM", "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE"}
_SCHEDULES = {"karras": "Karras", "trailing": "SGM Uniform", "linspace": "Uniform", "leading": "Leading"}
_NUMBERS = {"Steps": "num_inference_steps", "CFG scale": "guidance_scale", "Seed": "seed", "Eta": "eta"}
_ENTRY = re.compile(r'\s*(\w[\w \-/]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')


def settings_used(request: Request, checkpoint: Checkpoint | None, version: str) -> dict[str, Value]:
    """All that makes a picture of `request` again but its seed and size: what was given, and the server's defaults.

    checkpoint: what the server serves, where it says so. version: of the Triton model that answered.
    """
    given = {name: value for name, value in request.fields.items() if name not in _NOT_OF_ONE_PICTURE}
    sampler = str(given.get("sampler", DEFAULT_SAMPLER))
    settings: dict[str, Value] = {"prompt": given["prompt"], "negative_prompt": "", "sampler": sampler}
    if sampler in DEFAULT_SPACING:
        settings["timestep_spacing"] = DEFAULT_SPACING[sampler]
    settings["num_inference_steps"] = DEFAULT_STEPS
    if checkpoint is not None:
        settings["guidance_scale"] = checkpoint.guidance_scale
    settings |= given
    settings["model"] = request.model if checkpoint is None else checkpoint.name
    settings["model_version"] = version
    return settings


def save_png(image: Image.Image, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Writes a picture of this package as PNG with its settings, which `read_settings` gives back.

    `Image.save` alone leaves them out. Raises OSError if the file cannot be written.
    """
    found = {str(name): value for name, value in image.info.items() if isinstance(value, str | int | float)}
    settings = {name: found[name] for name in sorted(found, key=_place)}  # made again, the file is the same too
    texts = PngInfo()
    texts.add_text("parameters", _parameters_text(settings))
    content = json.dumps(settings | {"software": f"triton-diffusion {__version__}"})
    texts.add_text(_CHUNK, content)
    image.save(path, format="PNG", pnginfo=texts)


def read_settings(path: str | os.PathLike[str]) -> dict[str, Value]:
    """The settings in a PNG file, under the names of the arguments of `Client.text_to_image`, `model` and others.

    Reads what `save_png` wrote, or AUTOMATIC1111's text. Raises OSError if the file is no picture, and InvalidRequest
    if there are no settings in it.
    """
    with Image.open(path) as image:
        texts = {name: text for name, text in image.info.items() if isinstance(text, str)}
    if _CHUNK in texts:
        try:
            found = json.loads(texts[_CHUNK])
        except ValueError:
            found = None
        if isinstance(found, dict):
            return {str(name): value for name, value in found.items() if isinstance(value, str | int | float)}
    if found := _from_parameters_text(texts.get("parameters", "")):
        return found
    raise InvalidRequest(f"{os.fspath(path)} has no settings in it: use a PNG that save_png wrote", "path", path)


def arguments_of(settings: Mapping[str, Value]) -> dict[str, Value]:
    """Those of `settings` that are arguments of `Client.text_to_image`."""
    return {name: value for name, value in settings.items() if name in DATATYPES and name not in _NOT_OF_ONE_PICTURE}


def _place(name: str) -> int:
    """Where a setting stands in a file: in the order of the arguments, and what is none at the end."""
    return list(DATATYPES).index(name) if name in DATATYPES else len(DATATYPES)


def _parameters_text(settings: Mapping[str, Value]) -> str:
    lines = [str(settings.get("prompt", ""))]
    if settings.get("negative_prompt"):
        lines.append(f"Negative prompt: {settings['negative_prompt']}")
    sampler, spacing = str(settings.get("sampler", "")), str(settings.get("timestep_spacing", ""))
    entries = {
        "Steps": settings.get("num_inference_steps"),
        "Sampler": _SAMPLERS.get(sampler, sampler),
        "Schedule type": _SCHEDULES.get(spacing, spacing),
        "CFG scale": settings.get("guidance_scale"),
        "Seed": settings.get("seed"),
        "Size": f"{settings['width']}x{settings['height']}" if "width" in settings and "height" in settings else None,
        "Model": settings.get("model"),
        "Eta": settings.get("eta"),
        "Version": f"triton-diffusion {__version__}",
    }
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in entries.items() if value not in (None, "")))
    return "\n".join(lines)


def _quoted(value: object) -> str:
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:"\n]', text) else text


def _from_parameters_text(text: str) -> dict[str, Value]:
    """The settings in AUTOMATIC1111's text, or {} if it is not such a text. Names that are not ours stay as they are,
    for the server to refuse."""
    *lines, last = text.strip().split("\n")
    entries = {name: _unquoted(value.strip()) for name, value in _ENTRY.findall(last)}
    if "Steps" not in entries:
        return {}
    prompt, _, negative = "\n".join(lines).partition("Negative prompt: ")
    settings: dict[str, Value] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    sampler, schedule = entries.get("Sampler", ""), entries.get("Schedule type", "")
    for name in _SCHEDULES.values():  # before version 1.9 the schedule was part of the sampler's name
        if sampler.endswith(f" {name}"):
            sampler, schedule = sampler.removesuffix(f" {name}"), name
    if sampler:
        settings["sampler"] = _inverse(_SAMPLERS).get(sampler, sampler)
    if schedule not in ("", "Automatic"):
        settings["timestep_spacing"] = _inverse(_SCHEDULES).get(schedule, schedule)
    for name, field in _NUMBERS.items():
        if name in entries:
            with suppress(ValueError):  # another program's idea of it
                settings[field] = float(entries[name]) if DATATYPES[field] == "FP32" else int(entries[name])
    if size := re.fullmatch(r"(\d+)x(\d+)", entries.get("Size", "")):
        settings["width"], settings["height"] = int(size[1]), int(size[2])
    if "Model" in entries:
        settings["model"] = entries["Model"]
    return settings


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in names.items()}
