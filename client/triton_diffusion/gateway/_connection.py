"""Work that ends when the client hangs up."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack
from typing import TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection before the answer."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled when the client of `request`, whose body has been read, hangs up.

    Raises ClientGone then.
    """
    working = asyncio.ensure_future(work)
    hung_up = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait((working, hung_up), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        hung_up.cancel()
        await asyncio.gather(working, hung_up, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """Server-sent events. The contexts in `held` end with the last event, or when the client has gone."""

    def __init__(self, chunks: AsyncGenerator[bytes], held: AsyncExitStack) -> None:
        # The second header is for nginx, which would keep the events back until there are more.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(chunks, media_type="text/event-stream", headers=headers)
        held.push_async_callback(chunks.aclose)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)
