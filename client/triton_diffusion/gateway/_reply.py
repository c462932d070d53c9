"""OpenAI's answers from the server's events: one object, or server-sent events."""

import asyncio
import io
import json
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator

from PIL import Image

from .._checkpoint import Checkpoint
from .._errors import DiffusionError
from .._events import Completed, Event, Preview, Progress, Queued
from .._metadata import save_png
from .._response import no_image
from ._api_error import as_api_error
from ._images_request import ImagesRequest
from ._record import Record

_TOKENS = {  # OpenAI's clients expect the count; there is none here
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
}


class Reply:
    """The answer to one request, whole or in chunks."""

    def __init__(self, request: ImagesRequest, checkpoint: Checkpoint | None, record: Record) -> None:
        self._format = request.output_format or "png"
        self._compression = request.output_compression
        self._partial_images = request.partial_images or 0
        self._pixels = request.pixels or (checkpoint and (checkpoint.width, checkpoint.height))
        self._record = record

    async def whole(self, events: AsyncIterator[Event]) -> dict[str, object]:
        """The answer without `stream`, made when the images are there."""
        async for event in events:
            if isinstance(event, Completed):
                data = [{"b64_json": await self._encoded(image), "seed": image.info["seed"]} for image in event.images]
                self._record.done(len(event.images))
                return {
                    "created": int(time.time()),  # noqa: TID251 (a date)
                    "data": data,
                    "background": "opaque",
                    "output_format": self._format,
                    "size": _size(event.images[0]),
                }
        raise no_image()

    async def chunks(self, first: Event, events: AsyncIterator[Event]) -> AsyncGenerator[bytes]:
        """The answer with `stream`, as server-sent events. Steps and places in the queue are comments, which clients
        skip: they keep the connection alive, and show the progress to a reader of the raw stream."""
        index = 0
        try:
            async for event in _joined(first, events):
                match event:
                    case Queued(position):
                        yield f": place {position} in the queue\n\n".encode()
                    case Progress(step, num_steps):
                        yield f": step {step} of {num_steps}\n\n".encode()
                    case Preview(_, _, [image]) if index < self._partial_images:
                        if self._pixels:
                            image = image.resize(self._pixels, Image.Resampling.BICUBIC)
                        yield await self._event("partial_image", image, partial_image_index=index)
                        index += 1
                    case Completed([image]):
                        completed = await self._event("completed", image, usage=_TOKENS, seed=image.info["seed"])
                        self._record.done(1)
                        yield completed
        except DiffusionError as error:
            answer = as_api_error(error)
            self._record.failed(answer)
            yield _sse("error", {"type": "error", **answer.body})

    async def _event(self, name: str, image: Image.Image, **fields: object) -> bytes:
        content = {
            "type": f"image_generation.{name}",
            "b64_json": await self._encoded(image),
            "background": "opaque",
            "created_at": int(time.time()),  # noqa: TID251 (a date)
            "output_format": self._format,
            "quality": "auto",
            "size": _size(image),
            **fields,
        }
        return _sse(f"image_generation.{name}", content)

    async def _encoded(self, image: Image.Image) -> str:
        return await asyncio.to_thread(_base64, image, self._format, self._compression)


def _base64(image: Image.Image, output_format: str, compression: int | None) -> str:
    """The file of an image in Base64; a PNG has the settings in it. compression: the quality, 0 to 100."""
    file = io.BytesIO()
    if output_format == "png":
        save_png(image, file)
    else:
        # A JPEG of quality 0 would be one of Pillow's default, and what is above 95 is larger than it is better.
        quality = 95 if compression is None else max(1, compression)
        image.save(file, format=output_format, quality=quality)
    return b64encode(file.getvalue()).decode()


async def _joined(first: Event, rest: AsyncIterator[Event]) -> AsyncGenerator[Event]:
    yield first
    async for event in rest:
        yield event


def _sse(name: str, content: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
