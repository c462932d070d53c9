"""The body of `POST /v1/images/generations`: OpenAI's fields and ours.

Only types are checked here, and what the server does not know. Ranges are the server's to check, because they depend
on the checkpoint; what it says is told under the names of this interface.
"""

import re
import reprlib
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .._errors import InvalidRequest
from .._settings import DEFAULT_STEPS
from ._failures import Refusal

Format: TypeAlias = Literal["png", "jpeg", "webp"]

# The client's names of ours.
_PARAMS = {"num_images": "n", "num_inference_steps": "steps", "height": "size", "width": "size"}
_CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter", "json_invalid": "not_json"}


class Order(BaseModel):
    """What is asked for. None is the server's default."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str
    model: str | None = None  # as `GET /v1/models` names it
    n: int | None = None
    size: str | None = Field(None, pattern=r"^(auto|\d{1,6}x\d{1,6})$", examples=["512x512"])
    response_format: Literal["b64_json"] | None = None
    output_format: Format | None = None
    output_compression: int | None = Field(None, ge=0, le=100)  # the quality of jpeg and webp, in percent
    background: Literal["auto", "opaque"] | None = None
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=3)

    # Of OpenAI's models only: taken, and of no effect.
    quality: str | None = None
    style: str | None = None
    moderation: str | None = None
    user: str | None = None
    safety_identifier: str | None = None

    # Ours: `extra_body` of OpenAI's client.
    negative_prompt: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    timestep_spacing: str | None = None
    eta: float | None = None

    @classmethod
    def parsed(cls, body: bytes) -> Self:
        """The order in `body`, JSON. Raises Refusal, naming the field."""
        try:
            order = cls.model_validate_json(body)
        except ValidationError as error:
            raise _refusal(error) from error
        if order.stream and order.n not in (None, 1):
            raise Refusal(400, "invalid_value", f"n is {order.n}: use 1 with stream, or no stream", "n")
        if order.partial_images and not order.stream:
            message = f"partial_images is {order.partial_images}: use stream with it"
            raise Refusal(400, "invalid_value", message, "partial_images")
        return order

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height; None leaves them to the server."""
        if self.size in (None, "auto"):
            return None
        width, height = str(self.size).split("x")
        return int(width), int(height)

    def arguments(self) -> dict[str, Any]:
        """What `AsyncClient.stream` takes."""
        width, height = self.pixels or (None, None)
        interval = None
        if self.partial_images:  # the last of them before the last step
            interval = max(1, ((self.steps or DEFAULT_STEPS) - 1) // self.partial_images)
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "num_images": self.n,
            "height": height,
            "width": width,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "sampler": self.sampler,
            "timestep_spacing": self.timestep_spacing,
            "eta": self.eta,
            "seed": self.seed,
            "preview_interval": interval,
        }

    def refusal(self, error: InvalidRequest) -> Refusal:
        """What the server refused, under the name that the field has here."""
        param = None if error.field is None else _PARAMS.get(error.field, error.field)
        message = str(error)
        if param == "size":
            message = f"size is {self.size!r}: {message}"
        elif error.field is not None:
            message = re.sub(rf"\b{error.field}\b", str(param), message, count=1)
        return Refusal(400, "invalid_value", message, param)


def _refusal(error: ValidationError) -> Refusal:
    """The first thing that is wrong, in one line: what was given, what is allowed."""
    first = error.errors(include_url=False)[0]
    kind, message = first["type"], first["msg"].removeprefix("Input should be ").removeprefix("String should ")
    code = _CODES.get(kind, "invalid_value")
    param = ".".join(map(str, first["loc"])) or None
    match kind:
        case "json_invalid":
            return Refusal(400, code, f"the body is no JSON: {message}")
        case "missing":
            return Refusal(400, code, f"{param} is missing: say what the picture shows", param)
        case "extra_forbidden":
            return Refusal(400, code, f"{param} is no parameter: use any of {', '.join(Order.model_fields)}", param)
        case "string_pattern_mismatch":
            message = '"auto", or WIDTHxHEIGHT in pixels'
    name = param or "the body"
    return Refusal(400, code, f"{name} is {reprlib.repr(first['input'])}: use {message}", param)
