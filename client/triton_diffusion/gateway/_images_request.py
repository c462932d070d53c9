"""The body of `POST /v1/images/generations`: OpenAI's fields, and the settings of this package.

Only types are checked here, and what the server does not know. Ranges are the server's to check, because they depend
on the checkpoint; its errors are passed on under the names of this interface.
"""

import re
import reprlib
from typing import Any, Literal, TypeAlias, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from .._errors import InvalidRequest
from .._settings import Settings
from ._api_error import ApiError

Format: TypeAlias = Literal["png", "jpeg", "webp"]

# Settings that have another name here. All others keep theirs, but the priority: that is the key's to have.
_PARAMS = {"num_images": "n", "num_inference_steps": "steps", "height": "size", "width": "size"}
_EXTRAS: dict[str, Any] = {  # with type and default
    name: (kind, None) for name, kind in get_type_hints(Settings).items() if name not in (*_PARAMS, "priority")
}
_CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter", "json_invalid": "not_json"}


class ImagesRequest(BaseModel):
    """One request. A field that is None is left to the server's default."""

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

    # Of OpenAI's models only: accepted, and without effect.
    quality: str | None = None
    style: str | None = None
    moderation: str | None = None
    user: str | None = None
    safety_identifier: str | None = None

    # `extra_body` of OpenAI's client: this one, and those of `_EXTRAS` by their own names.
    steps: int | None = None

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height; None leaves them to the server."""
        if self.size in (None, "auto"):
            return None
        width, height = str(self.size).split("x")
        return int(width), int(height)

    def arguments(self, num_steps: int | None) -> dict[str, Any]:
        """The arguments of `AsyncClient.stream`. num_steps: the steps that it will take, if they are known."""
        width, height = self.pixels or (None, None)
        interval = None
        if self.partial_images:  # one at 1/2, two at 1/3 and 2/3, three at 1/4, 1/2 and 3/4 of the steps
            interval = max(1, ((num_steps or 1) + self.partial_images // 2) // (self.partial_images + 1))
        return {
            "prompt": self.prompt,
            "num_images": self.n,
            "height": height,
            "width": width,
            "num_inference_steps": self.steps,
            "preview_interval": interval,
            **{name: getattr(self, name) for name in _EXTRAS},
        }

    def refused(self, error: InvalidRequest) -> ApiError:
        """The server's error, under the name that the field has here."""
        param = None if error.field is None else _PARAMS.get(error.field, error.field)
        message = str(error)
        if param == "size":
            message = f"size is {self.size!r}: {message}"
        elif error.field is not None:
            message = re.sub(rf"\b{error.field}\b", str(param), message, count=1)
        return ApiError(400, "invalid_value", message, param)


_Body = create_model("ImagesRequest", __base__=ImagesRequest, **_EXTRAS)

SCHEMA = _Body.model_json_schema()


def parse(body: bytes) -> ImagesRequest:
    """The request in `body`, JSON. Raises ApiError, naming the field."""
    try:
        request = _Body.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from error
    if request.stream and request.n not in (None, 1):
        raise ApiError(400, "invalid_value", f"n is {request.n}: use 1 with stream, or no stream", "n")
    if request.partial_images and not request.stream:
        message = f"partial_images is {request.partial_images}: use stream with it"
        raise ApiError(400, "invalid_value", message, "partial_images")
    return request


def _refused(error: ValidationError) -> ApiError:
    """The first mistake, in one line: what was given, what is allowed."""
    first = error.errors(include_url=False)[0]
    kind, message = first["type"], first["msg"].removeprefix("Input should be ").removeprefix("String should ")
    code = _CODES.get(kind, "invalid_value")
    param = ".".join(map(str, first["loc"])) or None
    match kind:
        case "json_invalid":
            return ApiError(400, code, f"the body is no JSON: {message}")
        case "missing":
            return ApiError(400, code, f"{param} is missing: say what the image shows", param)
        case "extra_forbidden":
            return ApiError(400, code, f"{param} is no parameter: use any of {', '.join(_Body.model_fields)}", param)
        case "string_pattern_mismatch":
            message = '"auto", or WIDTHxHEIGHT in pixels'
    name = param or "the body"
    return ApiError(400, code, f"{name} is {reprlib.repr(first['input'])}: use {message}", param)
