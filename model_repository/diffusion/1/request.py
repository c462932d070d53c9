"""One request: its fields, their defaults and their limits, and the one clear line when a value breaks them."""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from checkpoint import Checkpoint
from errors import InvalidRequest
from sampling import StepTable, step_table

MAX_PROMPT_BYTES = 4096
MAX_IMAGES = 8
MAX_STEPS = 1000
MAX_GUIDANCE_SCALE = 50.0
MAX_SEED = 2**63 - MAX_IMAGES  # image k uses seed + k, which must fit INT64
DEFAULT_STEPS = 20
DEFAULT_SAMPLER = "dpmpp_2m"


class Priority(IntEnum):
    """The smaller goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


PRIORITIES = {priority.name.lower(): priority for priority in reversed(Priority)}


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
    preview_interval: int  # steps; 0 sends no previews
    table: StepTable  # what sampler, num_inference_steps, timestep_spacing and eta amount to
    priority: Priority = Priority.NORMAL

    @property
    def cost(self) -> int:
        """Rows of UNet calls that the request takes: steps x images."""
        return len(self.table) * self.num_images

    @property
    def guided(self) -> bool:
        """Whether every step needs a second UNet row, for the negative prompt."""
        return self.guidance_scale > 1

    @property
    def seeds(self) -> np.ndarray:
        """The seed of each image, int64 (N,)."""
        return self.seed + np.arange(self.num_images, dtype=np.int64)


def parse_request(tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint) -> Request:
    """The request in `tensors`, the input tensors that came, by name. Raises InvalidRequest."""
    fields = _Fields(tensors)
    steps = fields.integer("num_inference_steps", DEFAULT_STEPS, 1, MAX_STEPS)
    try:
        table = step_table(
            checkpoint.noise_schedule,
            fields.text("sampler", DEFAULT_SAMPLER),
            steps,
            fields.text("timestep_spacing", "") or None,
            fields.number("eta", 0.0, 0.0, 1.0),
        )
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    prompt = fields.text("prompt", "")
    if not prompt.strip():
        raise InvalidRequest("prompt is empty: say what the picture shows")
    return Request(
        prompt=prompt,
        negative_prompt=fields.text("negative_prompt", ""),
        num_images=fields.integer("num_images", 1, 1, MAX_IMAGES),
        height=fields.pixels("height", checkpoint.height, checkpoint.height_range, checkpoint.vae_factor),
        width=fields.pixels("width", checkpoint.width, checkpoint.width_range, checkpoint.vae_factor),
        guidance_scale=fields.number("guidance_scale", checkpoint.guidance_scale, 0.0, MAX_GUIDANCE_SCALE),
        seed=fields.integer("seed", None, 0, MAX_SEED),
        preview_interval=fields.integer("preview_interval", 0, 0, MAX_STEPS),
        table=table,
        priority=fields.priority("priority"),
    )


class _Fields:
    """Reads single values out of tensors of shape [1]."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = tensors

    def _value(self, name: str):
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        if tensor.size != 1:
            raise InvalidRequest(f"{name} has shape {list(tensor.shape)}: send one value, shape [1]")
        return tensor.item()

    def text(self, name: str, default: str) -> str:
        value = self._value(name)
        if value is None:
            return default
        if len(value) > MAX_PROMPT_BYTES:
            raise InvalidRequest(f"{name} has {len(value)} bytes: use at most {MAX_PROMPT_BYTES}")
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = value[error.start]
            raise InvalidRequest(f"{name} has byte 0x{byte:02x} at {error.start}: send valid UTF-8") from error

    def priority(self, name: str) -> Priority:
        value = self.text(name, "normal")
        if value not in PRIORITIES:
            raise InvalidRequest(f"{name} is {value!r}: use {', '.join(PRIORITIES)}")
        return PRIORITIES[value]

    def integer(self, name: str, default: int | None, low: int, high: int) -> int:
        value = self._value(name)
        if value is None:
            return secrets.randbits(32) if default is None else default
        if not low <= value <= high:
            raise InvalidRequest(f"{name} is {value}: use {low} to {high}")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self._value(name)
        if value is None:
            return default
        if not (math.isfinite(value) and low <= value <= high):
            raise InvalidRequest(f"{name} is {value:g}: use a number from {low:g} to {high:g}")
        return value

    def pixels(self, name: str, default: int, allowed: tuple[int, int], multiple: int) -> int:
        value = self._value(name)
        if value is None:
            return default
        low, high = allowed
        if not low <= value <= high or value % multiple:
            choice = f"{low}" if low == high else f"a multiple of {multiple} from {low} to {high}"
            raise InvalidRequest(f"{name} is {value}: this server's engines take {choice}")
        return value
