"""A request: its fields and parameters, declared here for the server and the wire, and what a valid one amounts to."""

import math
import re
import reprlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from checkpoint import Checkpoint
from errors import InvalidRequest
from fields import Choice, Field, Integer, LongInteger, Number, Pixels, Prompt, Text
from sampling import StepTable, own_spacing, resolve, step_table

MAX_IMAGES = 8
MAX_STEPS = 1000
MAX_PREVIEW_BYTES = 32 * 2**20  # of all previews of a request: Triton keeps what a client does not read
MAX_SEED = 2**63 - MAX_IMAGES  # image k uses seed + k, which must fit INT64


class Priority(IntEnum):
    """The smaller goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


PRIORITIES = {priority.name.lower(): priority for priority in reversed(Priority)}

FIELDS: tuple[Field, ...] = (
    Prompt("prompt", default_is="required"),
    Text("negative_prompt", ""),
    Integer("num_images", 1, low=1, high=MAX_IMAGES),
    Pixels("height", default_is="the checkpoint's"),
    Pixels("width", default_is="the checkpoint's"),
    Integer("num_inference_steps", default_is="the checkpoint's", low=1, high=MAX_STEPS),
    Number("guidance_scale", default_is="the checkpoint's", low=0.0, high=50.0),
    Number("guidance_rescale", 0.0),
    Text("sampler", default_is="the checkpoint's", allowed_is="the name of a sampler, ours or another program's"),
    Text(
        "timestep_spacing",
        default_is="the checkpoint's, or the named sampler's",
        allowed_is="the name of a spacing, ours or another program's",
    ),
    Number("eta", default_is="the sampler's"),
    LongInteger("seed", default_is="drawn, and returned", low=0, high=MAX_SEED),
    Choice("priority", "normal", values=PRIORITIES),
    Integer("preview_interval", 0, stream_only=True, low=0, high=MAX_STEPS),
)
"""Every input of the models `diffusion` and `text_to_image`."""

PARAMETERS = {
    "token": (
        re.compile(r"[\w.:@+=/-]{16,128}", re.ASCII),
        "16 to 128 ASCII letters, digits and any of _ . : @ + = / -",
    ),
    "caller": (re.compile(r"[\w.@-]{1,64}"), "1 to 64 letters, digits and any of _ . @ -"),
}
PARAMETERS["cancel"] = PARAMETERS["token"]
"""Every request parameter beside Triton's own: the text that it takes."""


@dataclass(frozen=True)
class Parameters:
    """What a request carries beside its tensors."""

    token: str | None = None  # who knows it may cancel the request
    cancel: str | None = None  # the token of a request to cancel, in place of making images
    caller: str | None = None  # named by a gateway that knows its callers: each gets an equal share
    timeout: float = math.inf  # seconds that somebody waits


@dataclass(frozen=True)
class Request:
    """A validated request, every default filled in."""

    prompt: str
    negative_prompt: str
    num_images: int
    height: int  # pixels
    width: int
    guidance_scale: float
    seed: int  # image k uses seed + k
    preview_interval: int  # steps of the sampler, a multiple of those asked for; 0 sends no previews
    table: StepTable  # what sampler, num_inference_steps, timestep_spacing and eta amount to
    guidance_rescale: float = 0.0  # arXiv 2305.08891 sec. 3.4; 0 is none
    priority: Priority = Priority.NORMAL
    caller: str | None = None  # whose requests share what is fair; None: it is fair to this request alone
    used: Mapping[str, str] = field(default_factory=dict)  # our names of `sampler` and `timestep_spacing`

    @property
    def num_steps(self) -> int:
        """Steps of the sampler: num_inference_steps. Some samplers make two denoiser calls a step."""
        return self.table.steps_done[-1]

    @property
    def cost(self) -> int:
        """Rows of denoiser calls that the request takes, guidance aside: calls x images."""
        return len(self.table) * self.num_images

    @property
    def guided(self) -> bool:
        """True where every step needs a second row of the denoiser, for the negative prompt."""
        return self.guidance_scale > 1

    @property
    def seeds(self) -> np.ndarray:
        """The seed of each image, int64 (N,)."""
        return self.seed + np.arange(self.num_images, dtype=np.int64)


def parse_parameters(given: Mapping[str, Any], microseconds: int) -> Parameters:
    """The parameters that came, by name, with Triton's own `timeout`, of which 0 is none. Raises InvalidRequest."""
    for name, value in given.items():
        if name not in PARAMETERS:
            raise InvalidRequest(f"{reprlib.repr(name)} is no request parameter: use timeout, token or cancel")
        pattern, allowed = PARAMETERS[name]
        if not (isinstance(value, str) and pattern.fullmatch(value)):
            raise InvalidRequest(f"{name} is {reprlib.repr(value)}: use {allowed}")
    if microseconds >= 2**63:  # Triton reads a negative number as an unsigned one
        raise InvalidRequest(f"timeout is {microseconds - 2**64}: use microseconds, 1 or more, or leave it out")
    return Parameters(timeout=microseconds / 1e6 if microseconds else math.inf, **given)


def parse_request(tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint, caller: str | None = None) -> Request:
    """The request in `tensors`, the input tensors that came, by name. Raises InvalidRequest."""
    values = {field.name: field.read(tensors, checkpoint) for field in FIELDS}
    try:
        table, used = _sampling(values, tensors, checkpoint)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    if values["seed"] is None:
        values["seed"] = secrets.randbits(32)
    values["priority"] = PRIORITIES[values["priority"]]
    values["preview_interval"] = _affordable(values, table.steps_done[-1], checkpoint)
    return Request(table=table, caller=caller, used=used, **values)


def _affordable(values: Mapping[str, Any], num_steps: int, checkpoint: Checkpoint) -> int:
    """The preview interval of `values`, or its smallest multiple at which all previews keep to MAX_PREVIEW_BYTES."""
    interval: int = values["preview_interval"]
    if not interval:
        return 0
    cells = values["height"] * values["width"] // checkpoint.vae_factor**2
    total = num_steps // interval * 3 * cells * values["num_images"]
    return interval * max(1, math.ceil(total / MAX_PREVIEW_BYTES))


def _sampling(
    values: dict[str, Any], tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> tuple[StepTable, dict[str, str]]:
    """The step table of `values`, and our names of its sampler and spacing, by field. Raises ValueError.

    Takes from `values` the fields that only the table needs.
    """
    spacing = values.pop("timestep_spacing")
    asked = spacing if "timestep_spacing" in tensors else ""  # which may be sent, too
    default = None if "sampler" in tensors else checkpoint.defaults["timestep_spacing"]  # a named one has its own
    sampler, spacing = resolve(values.pop("sampler"), asked or default)
    spacing = spacing or own_spacing(checkpoint.noise_schedule, sampler)
    steps, eta = values.pop("num_inference_steps"), values.pop("eta")
    options = {} if eta is None else {"eta": eta}
    table = step_table(checkpoint.noise_schedule, sampler, steps, spacing, **options)
    return table, {"sampler": sampler, "timestep_spacing": spacing}
