"""The body of a request, read up to a limit of size and time."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from ._api_error import ApiError
from ._connection import ClientGone

MAX_BODY = 64 * 1024  # bytes: two prompts of 4 KiB with every character escaped
SECONDS = 30.0  # for the whole body


async def read_json(request: Request, limit: int) -> bytes:
    """The body, declared as JSON, of `limit` bytes at most. Raises ApiError, and ClientGone if the client hangs up."""
    # A web page can have a browser send other types to 127.0.0.1 without asking; JSON it cannot.
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "unsupported_media_type", f"content-type is {kind!r}: use 'application/json'")
    too_large = ApiError(413, "request_too_large", f"the body is too large: use at most {limit} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise ApiError(408, "timeout", f"the body took too long: send it within {SECONDS:g} s") from None
    except ClientDisconnect:
        raise ClientGone from None
    return bytes(body)
