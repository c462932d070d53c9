"""The HTTP transports: httpx2, whose clients keep connections and serve many threads or tasks.

tritonclient's own HTTP client is not thread-safe, has no total timeout, and leaves two open files behind for every
thread that used it.
"""

import asyncio
import errno
import threading
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any, TypeVar

import httpx2

from .._deadline import Deadline
from .._errors import DeadlineExceeded, DiffusionError, ServerUnavailable, WrongServer
from .._request import Request, id_of
from .._response import Answer, Model
from . import http_wire, keepalive
from .address import Address
from .failures import error_from_status, tls_failure
from .http_wire import Exchange
from .tls import Tls
from .transport import Question

T = TypeVar("T")

_CONNECT = 10.0  # seconds at most to make a connection: longer than that, the host is not there
_SILENCE = 600.0  # seconds at most without a byte of the answer, for a call without a deadline
_CANCEL = 2.0  # seconds at most to tell the server that a request is not wanted any more
# Waiting for one of a limited number of connections would be a queue beside the server's own.
_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20)


class _Remaining(dict[str, Any]):
    """httpx2's timeouts: for each operation what is left, so that the sum holds."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def get(self, operation: str, default: Any = None) -> float | None:
        left = self._deadline.left()
        if operation == "connect":
            return _CONNECT if left is None else min(_CONNECT, left)
        return _SILENCE if left is None else left


class _Wire:
    """The common part of the two transports: settings, answers, errors."""

    streams = False

    def __init__(self, address: Address, tls: Tls | None = None) -> None:
        self.url = address.text
        self.settings: dict[str, Any] = {
            "base_url": f"{'https' if address.tls else 'http'}://{address.target}",
            "headers": {"User-Agent": "triton-diffusion", "Accept-Encoding": "identity"},
        }
        self.connections: dict[str, Any] = {
            "limits": _LIMITS,
            "verify": tls.context() if tls else address.tls,  # reading the certificates takes a while
            "proxy": _proxy(self.settings["base_url"]),
            "socket_options": keepalive.SOCKET,
        }

    def answer(self, exchange: Exchange[T], response: httpx2.Response, content: bytes, request: Request | None) -> T:
        if response.status_code != 200:
            message = http_wire.error_message(response.status_code, content)
            retry_after = http_wire.retry_after(response.headers)
            raise error_from_status(str(response.status_code), message, self.url, request, retry_after)
        try:
            return exchange.decode(response.headers, content)
        except (ValueError, KeyError, TypeError) as error:
            raise WrongServer(
                f"{self.url} is not available: it answers, but not as a Triton server does",
                request_id=id_of(request),
            ) from error

    def failure(self, error: httpx2.TransportError, deadline: Deadline, request: Request | None) -> DiffusionError:
        request_id = id_of(request)
        connecting = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        waited = isinstance(error, httpx2.TimeoutException) and not _vanished(error)
        if waited and (deadline.passed or (deadline.given and not connecting)):
            return deadline.exceeded(self.url, request_id)
        if waited and not connecting:
            return DeadlineExceeded(
                f"nothing came from {self.url} for {_SILENCE:g} s: give a timeout to wait longer", request_id=request_id
            )
        if connecting and (untrusted := tls_failure(str(error), self.url, request)) is not None:
            return untrusted
        if connecting:
            return ServerUnavailable(
                f"no HTTP server at {self.url}; is it running? (make serve)", request_id=request_id, connected=False
            )
        if isinstance(error, httpx2.RemoteProtocolError) and str(error).startswith("illegal"):
            return WrongServer(
                f"the HTTP connection to {self.url} failed: the answer is not HTTP (is this the gRPC port?)",
                request_id=request_id,
            )
        return ServerUnavailable(
            f"the HTTP connection to {self.url} failed: {str(error) or type(error).__name__}", request_id=request_id
        )


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`."""
    parts = urllib.parse.urlsplit(url)
    proxies = urllib.request.getproxies()
    found = None if urllib.request.proxy_bypass(parts.netloc) else proxies.get(parts.scheme, proxies.get("all"))
    return f"http://{found}" if found and "://" not in found else found


def _vanished(error: BaseException | None) -> bool:
    """True if TCP has given the connection up, which Python and httpx2 take for a timeout of their own."""
    while error is not None and getattr(error, "errno", None) != errno.ETIMEDOUT:
        error = error.__cause__ or error.__context__
    return error is not None


def _leaves_work(error: BaseException) -> bool:
    """True if the server may still be at work on the request that ended with `error`: it came too late, was
    interrupted, or its connection was lost."""
    if isinstance(error, ServerUnavailable):
        return error.connected and isinstance(error.__cause__, httpx2.TransportError)
    return isinstance(error, DeadlineExceeded) or not isinstance(error, DiffusionError)


class HttpTransport(_Wire):
    def __init__(self, address: Address, tls: Tls | None = None) -> None:
        super().__init__(address, tls)
        self._client = httpx2.Client(**self.settings, transport=httpx2.HTTPTransport(**self.connections))
        self._cancelling: set[threading.Thread] = set()

    def close(self) -> None:
        for thread in list(self._cancelling):
            thread.join()
        self._client.close()

    def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        request = request.renewed()
        try:
            return self._send(http_wire.infer(request, deadline), deadline, request)
        except BaseException as error:
            if _leaves_work(error):
                thread = threading.Thread(target=self._cancel, args=(request,))  # this one is to end now
                self._cancelling.add(thread)
                thread.start()
            raise

    def _cancel(self, request: Request) -> None:
        try:
            with suppress(DiffusionError):
                self._send(http_wire.cancel(request), Deadline(_CANCEL), None)
        finally:
            self._cancelling.discard(threading.current_thread())

    def ask(self, question: Question[T], deadline: Deadline) -> T:
        return self._send(http_wire.question(question), deadline, None)

    def model(self, name: str, deadline: Deadline) -> Model:
        return self._send(http_wire.model(name), deadline, None)

    def stream(self, request: Request, deadline: Deadline) -> Generator[Answer]:
        raise NotImplementedError

    def _send(self, exchange: Exchange[T], deadline: Deadline, request: Request | None) -> T:
        method, path, headers, body, _ = exchange
        timeouts = {"timeout": _Remaining(deadline)}
        content = bytearray()
        try:
            with self._client.stream(method, path, content=body, headers=headers, extensions=timeouts) as response:
                for chunk in response.iter_raw():
                    content += chunk
                    if deadline.passed:
                        raise deadline.exceeded(self.url, id_of(request))
        except httpx2.TransportError as error:
            raise self.failure(error, deadline, request) from error
        return self.answer(exchange, response, bytes(content), request)


class AsyncHttpTransport(_Wire):
    def __init__(self, address: Address, tls: Tls | None = None) -> None:
        super().__init__(address, tls)
        self._client = httpx2.AsyncClient(**self.settings, transport=httpx2.AsyncHTTPTransport(**self.connections))
        self._cancelling: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await asyncio.gather(*self._cancelling)
        await self._client.aclose()

    async def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        request = request.renewed()
        try:
            return await self._send(http_wire.infer(request, deadline), deadline, request)
        except (DiffusionError, asyncio.CancelledError) as error:
            if _leaves_work(error):
                task = asyncio.create_task(self._cancel(request))  # this one is to end now
                self._cancelling.add(task)
                task.add_done_callback(self._cancelling.discard)
            raise

    async def _cancel(self, request: Request) -> None:
        with suppress(DiffusionError):
            await self._send(http_wire.cancel(request), Deadline(_CANCEL), None)

    async def ask(self, question: Question[T], deadline: Deadline) -> T:
        return await self._send(http_wire.question(question), deadline, None)

    async def model(self, name: str, deadline: Deadline) -> Model:
        return await self._send(http_wire.model(name), deadline, None)

    def stream(self, request: Request, deadline: Deadline) -> AsyncGenerator[Answer]:
        raise NotImplementedError

    async def _send(self, exchange: Exchange[T], deadline: Deadline, request: Request | None) -> T:
        method, path, headers, body, _ = exchange
        timeout = httpx2.Timeout(None, connect=_CONNECT, read=None if deadline.given else _SILENCE)
        try:
            async with asyncio.timeout(deadline.left()):
                response = await self._client.request(method, path, content=body, headers=headers, timeout=timeout)
        except TimeoutError as error:
            raise deadline.exceeded(self.url, id_of(request)) from error
        except httpx2.TransportError as error:
            raise self.failure(error, deadline, request) from error
        return self.answer(exchange, response, response.content, request)
