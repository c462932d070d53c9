"""The client for asyncio: the same calls as `_client.py`, awaited."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Self, TypeVar, Unpack

from PIL.Image import Image

from ._attempts import Server, Servers
from ._checkpoint import DESCRIBE_TIMEOUT, MODELS, Checkpoint
from ._deadline import Deadline
from ._errors import DeadlineExceeded, DiffusionError
from ._events import Completed, Event
from ._metadata import settings_used
from ._request import Request, Value, new_request
from ._response import Answer, Model, images_of, no_image, progress_events
from ._settings import Settings, StreamSettings, takes
from ._transports.address import ProtocolName
from ._transports.factory import async_transports
from ._transports.mock import AsyncMock, MockTransport
from ._transports.shared_memory import SharedMemory
from ._transports.tls import Tls
from ._transports.transport import CHECKPOINT, READY, VERSION, AsyncTransport, Question, check_streaming

T = TypeVar("T")


class AsyncClient:
    """Client of a Triton Diffusion server, for the tasks of one event loop.

    Everything is as with `Client`, under the same names: arguments, results and errors. Calls are
    awaited, and `stream` is iterated over with `async for`. Cancelling the task that awaits a call, or closing the
    iterator, cancels the request, and the server stops within one step.

    async with AsyncClient("localhost:8001") as client:
        (image,) = await client.text_to_image("a red circle", seed=7)
        async with contextlib.aclosing(client.stream("a red circle", preview_interval=5)) as events:
            async for event in events:
                ...

    `aclosing` closes the iterator if the loop is left early; without it Python does, at a time of its own.
    """

    def __init__(
        self,
        url: str | Sequence[str] | None = None,
        protocol: ProtocolName | None = None,
        *,
        retries: int = 3,
        shared_memory: SharedMemory | None = None,
        tls: Tls | None = None,
        transport: MockTransport | None = None,
    ) -> None:
        self._shares_memory = shared_memory is not None
        self._servers: Servers[AsyncTransport] = Servers(
            [AsyncMock(transport)] if transport else async_transports(url, protocol, shared_memory, tls), retries
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def streams(self) -> bool:
        """True if `stream` can be called: over gRPC."""
        return self._servers.all[0].transport.streams

    async def close(self) -> None:
        """Ends the connections; the client takes no further calls."""
        self._servers.closed = True
        for server in self._servers.all:
            await server.transport.close()

    @takes(Settings)
    async def text_to_image(
        self,
        prompt: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> list[Image]:
        """Makes the images and returns them: `num_images` RGB images of `width` x `height`.

        `image.info` holds all that makes the image again: its own `seed`, its size and the settings, under the names
        of the arguments, and `model` and `model_version`; `save_png` writes them into the file.

        When `timeout` has passed, or the task is cancelled, the server stops the work within one step. The settings,
        beside `prompt`, text of what the images show:
        """
        request = new_request("text_to_image", {"prompt": prompt, **settings}, request_id)
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                size = await self._size(request, server, attempts.deadline)
                answer = await server.transport.infer(request, attempts.deadline, size)
                return images_of(answer.outputs, await self._settings(request, answer, server, attempts.deadline))
            await asyncio.sleep(attempts.pause)

    @takes(StreamSettings)
    def stream(
        self,
        prompt: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[StreamSettings],
    ) -> AsyncGenerator[Event]:
        """Makes the images and yields events: `Queued` while the request waits for room, `Progress` every step,
        `Preview` every `preview_interval` steps (none by default), and `Completed` with the images at the end. gRPC
        only.

        The request is sent when the first event is asked for. Closing the iterator (`close()`, leaving the function
        that holds it, an exception) cancels the request, and the server stops within one step. If the call is tried
        again the events start over.

        A wrong argument is refused here; every other error is raised by the iterator. The time that the caller takes
        between events counts towards `timeout`, which starts with the first of them. The settings, beside `prompt`:
        """
        request = new_request("diffusion", {"prompt": prompt, **settings}, request_id)
        check_streaming(self._servers.all[0].transport)
        Deadline(timeout)  # refuses a wrong one
        return self._events(request, timeout)

    async def is_ready(self, timeout: float = 5.0) -> bool:
        """True if a server is there and all its models are loaded."""
        deadline = self._servers.attempts(timeout).deadline
        for server in self._servers.all:
            with suppress(DiffusionError):
                if await server.transport.ask(READY, deadline):
                    return True
        return False

    async def models(self, timeout: float | None = None) -> list[Model]:
        """The models that make an image, and the readiness of each: `diffusion`, `text_to_image`, and the networks that
        the server describes; those that `diffusion` has opened itself are ready when it is. A server that does not
        describe itself shows the first two."""
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                await server.transport.ask(VERSION, attempts.deadline)  # raises where nobody is there
                checkpoint = await self._checkpoint(server, attempts.deadline)
                names = MODELS if checkpoint is None else checkpoint.models
                models = [await self._model(name, server, attempts.deadline) for name in names]
                return models if checkpoint is None else [*models, *checkpoint.networks_in(models[0])]
            await asyncio.sleep(attempts.pause)

    async def checkpoint(self, timeout: float | None = None) -> Checkpoint | None:
        """The server's description of itself: checkpoint, sizes, defaults, samplers, limits. None from a server without
        one."""
        return await self._ask(CHECKPOINT, timeout)

    async def _ask(self, question: Question[T], timeout: float | None) -> T:
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                return await server.transport.ask(question, attempts.deadline)
            await asyncio.sleep(attempts.pause)

    async def _model(self, name: str, server: Server[AsyncTransport], deadline: Deadline) -> Model:
        try:
            return await server.transport.model(name, deadline)
        except DeadlineExceeded:
            raise
        except DiffusionError as error:
            return Model(name, "", ready=False, reason=str(error))

    async def _events(self, request: Request, timeout: float | None) -> AsyncGenerator[Event]:
        attempts = self._servers.attempts(timeout)
        while True:
            with attempts.next() as server:
                async with aclosing(server.transport.stream(request, attempts.deadline)) as answers:
                    async for answer in answers:
                        if "image" in answer.outputs:
                            async for _ in answers:  # to the end of the call, so that leaving now cancels nothing
                                pass
                            settings = await self._settings(request, answer, server, attempts.deadline)
                            yield Completed(images_of(answer.outputs, settings))
                            return
                        for event in progress_events(answer.outputs):
                            yield event
                raise no_image()
            await asyncio.sleep(attempts.pause)

    async def _settings(
        self, request: Request, answer: Answer, server: Server[AsyncTransport], deadline: Deadline
    ) -> dict[str, Value]:
        return settings_used(request, await self._checkpoint(server, deadline), answer)

    async def _size(self, request: Request, server: Server[AsyncTransport], deadline: Deadline) -> int | None:
        """Bytes of the images, if they are to come through shared memory."""
        checkpoint = await self._checkpoint(server, deadline) if self._shares_memory else None
        return None if checkpoint is None else checkpoint.image_bytes(request.fields)

    async def _checkpoint(self, server: Server[AsyncTransport], deadline: Deadline) -> Checkpoint | None:
        if server.checkpoint is None:
            with suppress(DiffusionError):  # an image is worth more than what is written into it
                limit = deadline.no_later_than(DESCRIBE_TIMEOUT)
                server.checkpoint = await server.transport.ask(CHECKPOINT, limit)
        return server.checkpoint
