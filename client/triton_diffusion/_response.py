"""From what the server sent to pictures, events and errors, the same for both protocols."""

import os
import re
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import TypeAlias

from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ._errors import DeadlineExceeded, DiffusionError, GenerationFailed, InvalidRequest, ServerUnavailable
from ._events import Completed, Event, Preview, Progress
from ._request import DATATYPES, Value

Outputs: TypeAlias = Mapping[str, NDArray]  # the output tensors of one response, by name

# A gRPC status or an HTTP status; any other one is a GenerationFailed. Triton sends 400, 404, 500 and 503; 405, 502 and
# 504 come from something else at that address or from a proxy in front of it.
_ERRORS: dict[str, type[DiffusionError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "400": InvalidRequest,
    "NOT_FOUND": ServerUnavailable,  # the model is not in this server's repository
    "404": ServerUnavailable,
    "405": ServerUnavailable,
    "UNAVAILABLE": ServerUnavailable,
    "502": ServerUnavailable,
    "503": ServerUnavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "504": DeadlineExceeded,
}
_FIELD = re.compile(rf"\b({'|'.join(DATATYPES)})\b")


def error_from_status(status: str, message: str, url: str) -> DiffusionError:
    """The error for a gRPC status ("INVALID_ARGUMENT") or an HTTP status ("400") with the server's message."""
    error = _ERRORS.get(status, GenerationFailed)
    if error is ServerUnavailable:
        return error(f"{url} is not available: {message}")
    if error is not InvalidRequest:
        return error(message)
    # The server's line names the field before the value, which may itself be a text with such a word in it.
    field = _FIELD.search(message)
    return InvalidRequest(message, field and field[1])


def error_in_stream(message: str, url: str) -> DiffusionError:
    """The error for an error response in a gRPC stream: Triton sends the text there without its status."""
    if _FIELD.match(message):  # how the server begins every line about a value
        return error_from_status("INVALID_ARGUMENT", message, url)
    if message.startswith("Request for unknown model"):
        return error_from_status("NOT_FOUND", message, url)
    return error_from_status("INTERNAL", message, url)


def pictures(outputs: Outputs, fields: Mapping[str, Value]) -> list[Image.Image]:
    """The pictures of one response, each with its own seed and the given settings in `info`.

    outputs: `image` UINT8 [N,H,W,3] and `seed` INT64 [N].
    fields: what was sent, as `checked`.
    """
    # Those that, with its seed, make this picture again: one of several is made again alone.
    settings = {name: value for name, value in fields.items() if name not in ("num_images", "preview_interval")}
    images = [Image.fromarray(array) for array in _output(outputs, "image")]
    for image, seed in zip(images, _output(outputs, "seed"), strict=True):
        image.info.update(settings, seed=int(seed))
    return images


def events(responses: Generator[Outputs], fields: Mapping[str, Value]) -> Generator[Event]:
    """The events of the responses of `diffusion`; closing it closes `responses`.

    Raises GenerationFailed if the responses end without a picture.
    """
    with closing(responses):
        for outputs in responses:
            if "image" in outputs:
                images = pictures(outputs, fields)
                for _ in responses:  # to the end of the call, so that whoever leaves now cancels nothing
                    pass
                yield Completed(images)
                return
            step, num_steps = int(_output(outputs, "step")[0]), int(_output(outputs, "num_steps")[0])
            yield Progress(step, num_steps)
            if "preview" in outputs:  # UINT8 [N,h,w,3]
                yield Preview(step, num_steps, [Image.fromarray(array) for array in outputs["preview"]])
    raise GenerationFailed("the server ended the stream without a picture")


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes a picture as PNG with its seed and settings as text chunks, which `Image.open(path).info` gives back.

    `Image.save` alone leaves them out. Raises OSError if the file cannot be written.
    """
    texts = PngInfo()
    for name, value in image.info.items():
        if isinstance(value, str | int | float):
            texts.add_text(str(name), str(value))
    image.save(path, format="PNG", pnginfo=texts)


def _output(outputs: Outputs, name: str) -> NDArray:
    try:
        return outputs[name]
    except KeyError:
        raise GenerationFailed(f"the server's response has no output {name!r}; is it Triton Diffusion?") from None
