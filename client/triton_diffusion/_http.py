"""The HTTP transports: httpx2, whose clients keep connections and serve many threads or tasks.

tritonclient's own HTTP client is not thread-safe, has no total timeout, and leaves two open files behind for every
thread that used it.
"""

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, NamedTuple

import httpx2

from ._attempts import Deadline
from ._errors import DiffusionError, ServerUnavailable, WrongServer
from ._failures import error_from_status
from ._request import Request, id_of
from ._response import Answer, Checkpoint, Model, tensor
from ._transport import Address, Question, checkpoint

_HEADER_LENGTH = "Inference-Header-Content-Length"  # where the JSON ends and the binary tensors begin
_CONNECT = 10.0  # seconds at most to make a connection: longer than that, the host is not there
# Waiting for one of a limited number of connections would be a queue beside the server's own.
_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=20)


class _Exchange(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    decode: Callable[[httpx2.Headers, bytes], Any]


class _Remaining(dict[str, Any]):
    """httpx2's timeouts: for each operation what is left, so that the sum holds."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def get(self, operation: str, default: Any = None) -> float | None:
        left = self._deadline.left()
        return left if operation != "connect" else min(_CONNECT, left or _CONNECT)


class _Wire:
    """What the two transports share: settings, answers, errors."""

    streams = False

    def __init__(self, address: Address) -> None:
        self.url = address.text
        self.settings: dict[str, Any] = {
            "base_url": f"{'https' if address.tls else 'http'}://{address.target}",
            "headers": {"User-Agent": "triton-diffusion", "Accept-Encoding": "identity"},
            "limits": _LIMITS,
            "verify": address.tls,  # reading the certificates takes a while
        }

    def answer(self, exchange: _Exchange, response: httpx2.Response, content: bytes, request: Request | None) -> Any:
        if response.status_code != 200:
            message = _error_message(response.status_code, content)
            retry_after = _retry_after(response.headers.get("Retry-After", ""))
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
        if isinstance(error, httpx2.TimeoutException) and deadline.passed:
            return deadline.exceeded(self.url, request_id)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return ServerUnavailable(
                f"no HTTP server at {self.url}; is it running? (make serve)", request_id=request_id
            )
        if isinstance(error, httpx2.RemoteProtocolError) and str(error).startswith("illegal"):
            return WrongServer(
                f"the HTTP connection to {self.url} failed: the answer is not HTTP (is this the gRPC port?)",
                request_id=request_id,
            )
        return ServerUnavailable(
            f"the HTTP connection to {self.url} failed: {str(error) or type(error).__name__}", request_id=request_id
        )


class HttpTransport(_Wire):
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._client = httpx2.Client(**self.settings)

    def close(self) -> None:
        self._client.close()

    def infer(self, request: Request, deadline: Deadline) -> Answer:
        answer: Answer = self._send(_infer_exchange(request), deadline, request)
        return answer

    def ask(self, question: Question, deadline: Deadline) -> Any:
        return self._send(_QUESTIONS[question], deadline, None)

    def stream(self, request: Request, deadline: Deadline) -> Generator[Answer]:
        raise NotImplementedError

    def _send(self, exchange: _Exchange, deadline: Deadline, request: Request | None) -> Any:
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
    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._client = httpx2.AsyncClient(**self.settings)

    async def close(self) -> None:
        await self._client.aclose()

    async def infer(self, request: Request, deadline: Deadline) -> Answer:
        answer: Answer = await self._send(_infer_exchange(request), deadline, request)
        return answer

    async def ask(self, question: Question, deadline: Deadline) -> Any:
        return await self._send(_QUESTIONS[question], deadline, None)

    def stream(self, request: Request, deadline: Deadline) -> AsyncGenerator[Answer]:
        raise NotImplementedError

    async def _send(self, exchange: _Exchange, deadline: Deadline, request: Request | None) -> Any:
        method, path, headers, body, _ = exchange
        timeout = httpx2.Timeout(None, connect=_CONNECT)
        try:
            async with asyncio.timeout(deadline.left()):
                response = await self._client.request(method, path, content=body, headers=headers, timeout=timeout)
        except TimeoutError as error:
            raise deadline.exceeded(self.url, id_of(request)) from error
        except httpx2.TransportError as error:
            raise self.failure(error, deadline, request) from error
        return self.answer(exchange, response, response.content, request)


def infer_body(request: Request) -> tuple[bytes, int]:
    """The body that asks for all outputs in binary, and the length of the JSON at its start."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": len(content)}}
        for name, datatype, content in request.tensors
    ]
    header = json.dumps({"id": request.id, "inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return header + b"".join(content for _, _, content in request.tensors), len(header)


def _infer_exchange(request: Request) -> _Exchange:
    body, header_length = infer_body(request)
    headers = {_HEADER_LENGTH: str(header_length), "Content-Type": "application/octet-stream"}
    return _Exchange("POST", f"/v2/models/{request.model}/infer", headers, body, _answer)


def _answer(headers: httpx2.Headers, content: bytes) -> Answer:
    start = int(headers[_HEADER_LENGTH])
    header = json.loads(content[:start])
    outputs = {}
    for output in header["outputs"]:
        end = start + output["parameters"]["binary_data_size"]
        array = tensor(output["datatype"], output["shape"], content[start:end])
        if array is not None:
            outputs[output["name"]] = array
        start = end
    return Answer(outputs, header["model_version"])


def _models(headers: httpx2.Headers, content: bytes) -> list[Model]:
    return [
        Model(model["name"], model.get("version", ""), model.get("state") == "READY", model.get("reason", ""))
        for model in json.loads(content)
    ]


def _checkpoint(headers: httpx2.Headers, content: bytes) -> Checkpoint | None:
    parameters = json.loads(content)["parameters"]
    return checkpoint(parameters["checkpoint"]["string_value"]) if "checkpoint" in parameters else None


_QUESTIONS = {
    Question.READY: _Exchange("GET", "/v2/health/ready", {}, b"", lambda headers, content: True),
    Question.MODELS: _Exchange("POST", "/v2/repository/index", {}, b"", _models),
    Question.CHECKPOINT: _Exchange("GET", "/v2/models/unet/config", {}, b"", _checkpoint),
}


def _error_message(status: int, content: bytes) -> str:
    """Triton's message, or for an answer that is not Triton's (a proxy's page, say) the status alone."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, TypeError, KeyError):
        return f"the server answered with HTTP status {status}"


def _retry_after(header: str) -> float | None:
    """Seconds; the header has them, or a date."""
    try:
        return float(header)
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None
