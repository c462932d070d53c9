"""Responses: images and events from output tensors, the same for both protocols and both clients."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ._errors import GenerationFailed
from ._events import Event, Preview, Progress, Queued
from ._request import Value

Outputs: TypeAlias = Mapping[str, NDArray[Any]]  # the output tensors of one response, by name

_DTYPES = {"UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64}  # of all outputs but texts, by Triton's name
NAMES = ("sampler", "timestep_spacing")  # outputs that say, in the server's own names, what made the images


class Answer(NamedTuple):
    """One response: to a request for images the only one, in a stream one of many."""

    outputs: Outputs
    version: str = ""  # of the model that answered


@dataclass(frozen=True)
class Model:
    """One of the models that make an image."""

    name: str
    version: str
    ready: bool
    reason: str = ""  # for not being ready


def tensor(datatype: str, shape: Sequence[int], content: bytes | memoryview) -> NDArray[Any] | None:
    """The array of an output's bytes; None for a datatype that no output of ours has."""
    if datatype == "BYTES":
        return np.array(_texts(bytes(content))).reshape(shape)
    dtype = _DTYPES.get(datatype)
    return None if dtype is None else np.frombuffer(content, dtype).reshape(shape)


def images_of(outputs: Outputs, settings: Mapping[str, Value]) -> list[Image.Image]:
    """The images of one response; each has `settings`, its own seed and its size in `info`.

    outputs: `image` UINT8 [N,H,W,3] and `seed` INT64 [N].
    """
    images = [Image.fromarray(array) for array in _output(outputs, "image")]
    for image, seed in zip(images, _output(outputs, "seed"), strict=True):
        image.info.update(settings, seed=int(seed), width=image.width, height=image.height)
    return images


def names_of(outputs: Outputs) -> dict[str, Value]:
    """The server's names of sampler and spacing, by field; {} from a server that does not say them."""
    return {name: str(outputs[name][0]) for name in NAMES if name in outputs}


def progress_events(outputs: Outputs) -> Iterator[Event]:
    """The events of a response of `diffusion` that is not its last: INT32 [1] `step` and `num_steps`, and
    `queue_position` INT32 [1] or `preview` UINT8 [N,h,w,3] where there is one."""
    if "queue_position" in outputs:
        yield Queued(int(outputs["queue_position"][0]))
        return
    step, num_steps = int(_output(outputs, "step")[0]), int(_output(outputs, "num_steps")[0])
    yield Progress(step, num_steps)
    if "preview" in outputs:
        yield Preview(step, num_steps, [Image.fromarray(array) for array in outputs["preview"]])


def no_image() -> GenerationFailed:
    return GenerationFailed("the server ended the stream without an image")


def _texts(content: bytes) -> list[str]:
    """Texts as Triton sends them, each preceded by its length in four bytes."""
    texts = []
    while content:
        (length,) = struct.unpack_from("<I", content)
        texts.append(content[4 : 4 + length].decode())
        content = content[4 + length :]
    return texts


def _output(outputs: Outputs, name: str) -> NDArray[Any]:
    try:
        return outputs[name]
    except KeyError:
        raise GenerationFailed(f"the server's response has no output {name!r}; is it Triton Diffusion?") from None
