"""The generation of one image, as the page follows it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from PIL.Image import Image

from .._async_client import AsyncClient
from .._errors import DiffusionError
from .._events import Completed, Preview, Progress, Queued

REFRESH = 0.04  # seconds at least between two views: 25 a second look smooth, and more only take the server's time
PREVIEWS = 20  # of one image, at most


class State(Enum):
    WAITING = auto()
    RUNNING = auto()
    DONE = auto()
    CANCELLED = auto()
    FAILED = auto()


@dataclass
class Run:
    """The state of one generation. Times are in seconds since the request was sent."""

    arguments: Mapping[str, Any]  # of `AsyncClient.stream`; those that are None were not given
    state: State = State.WAITING
    position: int | None = None  # in the server's queue
    step: int = 0
    num_steps: int = 0
    preview: Image | None = None
    image: Image | None = None
    error: str = ""
    first_step: float | None = None
    first_preview: float | None = None
    last_step: float | None = None
    seconds: float | None = None  # until the image was there

    async def views(
        self, client: AsyncClient, timeout: float | None, places: asyncio.Semaphore, stop: asyncio.Event
    ) -> AsyncGenerator[None]:
        """Make the image when there is a place among `places`, and yield whenever there is something new to show; the
        last time is the end. `timeout` is in seconds, from the moment when there is a place.

        Setting `stop`, or closing the generator, ends the work on the server within one step.
        """
        changed = asyncio.Event()
        work = asyncio.create_task(self._wait_and_follow(client, timeout, places, changed))
        stopping = asyncio.create_task(stop.wait())
        try:
            yield
            while not work.done():
                change = asyncio.create_task(changed.wait())
                await asyncio.wait({work, change, stopping}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                changed.clear()
                if stopping.done():
                    break
                if not work.done():
                    yield
                    await asyncio.wait({work, stopping}, timeout=REFRESH, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.state = State.CANCELLED
            else:
                work.result()
            yield
        finally:
            for task in (work, stopping):
                task.cancel()
            await asyncio.wait({work, stopping})

    async def _wait_and_follow(
        self, client: AsyncClient, timeout: float | None, places: asyncio.Semaphore, changed: asyncio.Event
    ) -> None:
        async with places:
            await self._follow(client, timeout, changed)

    async def _follow(self, client: AsyncClient, timeout: float | None, changed: asyncio.Event) -> None:
        start = time.perf_counter()

        def now() -> float:
            return time.perf_counter() - start

        try:
            steps = self.arguments.get("num_inference_steps")
            interval = -(-steps // PREVIEWS) if isinstance(steps, int) and steps > 0 else 1
            events = client.stream(**self.arguments, preview_interval=interval, timeout=timeout)
            async with aclosing(events):
                async for event in events:
                    match event:
                        case Queued(position):
                            self.position = position
                        case Progress(step, num_steps):
                            self.state, self.step, self.num_steps = State.RUNNING, step, num_steps
                            self.first_step = now() if step == 0 else self.first_step
                            self.last_step = now()
                        case Preview(_, _, images):
                            self.preview = images[0]
                            self.first_preview = self.first_preview or now()
                        case Completed(images):
                            self.image, self.seconds, self.state = images[0], now(), State.DONE
                    changed.set()
        except DiffusionError as error:
            self.error, self.state = str(error), State.FAILED
