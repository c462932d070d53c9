"""The ASGI application: its paths, and the way of a request to the server and back."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from .._async_client import AsyncClient
from .._caller import caller as named_caller
from .._checkpoint import Checkpoint
from .._errors import DiffusionError, InvalidRequest
from ._access_log import AccessLog
from ._api_error import ApiError, as_api_error
from ._body import MAX_BODY, read_json
from ._concurrency_limit import ConcurrencyLimit
from ._connection import ClientGone, EventStream, while_connected
from ._images_request import SCHEMA, parse
from ._keys import Caller, Keys
from ._metrics import Metrics
from ._record import record_of
from ._reply import Reply

if TYPE_CHECKING:
    from ._tracing import Tracing

READY_TIMEOUT = 2.0  # seconds
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}}}


def create_app(
    client: AsyncClient,
    *,
    keys: Keys | None = None,
    concurrency: int = 8,
    max_body: int = MAX_BODY,
    timeout: float | None = None,
    trace_url: str | None = None,
) -> FastAPI:
    """The ASGI application; it closes `client` (gRPC) when it ends.

    keys: the callers that are let in; None lets everybody in. concurrency: generations of one key at once. max_body:
    bytes. timeout: seconds for one generation, waiting included. trace_url: the address at which OpenTelemetry's
    collector takes OTLP over HTTP, such as http://collector:4318/v1/traces; None traces nothing.
    """
    metrics = Metrics()
    tracing = None if trace_url is None else _tracing(trace_url)
    limit = ConcurrencyLimit(concurrency)
    started = int(time.time())  # noqa: TID251 (a date)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with client:
            yield
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = FastAPI(title="Triton Diffusion gateway", lifespan=lifespan, docs_url=None, redoc_url=None)

    def caller(request: Request) -> Caller:
        known = Caller("anonymous") if keys is None else keys.caller(request.headers.get("authorization"))
        named_caller.set(None if keys is None else known.name)
        record_of(request).key = known.name
        return known

    @app.post("/v1/images/generations", response_model=None, openapi_extra=_BODY)
    async def generate(request: Request) -> Response:
        """Make images, as OpenAI's images API does."""
        name, priority = caller(request)
        body = parse(await read_json(request, max_body))
        record = record_of(request)
        record.steps = body.steps
        async with AsyncExitStack() as held:  # until the answer is out: a stream takes it along
            if tracing is not None:
                held.enter_context(tracing.generation(request.headers, record))
            held.enter_context(metrics.generation(record, name))
            held.enter_context(limit.running(name))
            checkpoint = await while_connected(request, client.checkpoint(timeout))
            _check_model(body.model, checkpoint)
            if body.steps is None and checkpoint is not None:
                record.steps = checkpoint.num_inference_steps
            reply = Reply(body, checkpoint, record)
            try:
                events = client.stream(
                    **body.arguments(record.steps), priority=priority, timeout=timeout, request_id=record.request_id
                )
                await held.enter_async_context(aclosing(events))  # which cancels what is not done
                if not body.stream:
                    return JSONResponse(await while_connected(request, reply.whole(events)))
                first = await while_connected(request, anext(events))  # a wrong value is refused with a status
            except InvalidRequest as error:
                raise body.refused(error) from error
            return EventStream(reply.chunks(first, events), held.pop_all())

    @app.get("/v1/models", response_model=None)
    async def models(request: Request) -> Response:
        """The checkpoint that the server serves, as the only model."""
        caller(request)
        model = _model(await client.checkpoint(timeout), started)
        return JSONResponse({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}", response_model=None)
    async def model(request: Request, name: str) -> Response:
        """The description of one model."""
        caller(request)
        checkpoint = await client.checkpoint(timeout)
        _check_model(name, checkpoint)
        return JSONResponse(_model(checkpoint, started))

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Liveness: this process answers."""
        return "ok\n"

    @app.get("/readyz", response_model=None)
    async def readyz(request: Request) -> Response:
        """Readiness: Triton answers, and all its models are loaded."""
        if await client.is_ready(READY_TIMEOUT):
            return PlainTextResponse("ready\n")
        record_of(request).outcome = "failed"
        return PlainTextResponse("the Triton server is not ready\n", 503)

    @app.get("/metrics", response_model=None)
    async def prometheus() -> Response:
        """Metrics for Prometheus."""
        return Response(metrics.text(), media_type=metrics.content_type)

    async def failed(request: Request, error: Exception) -> Response:
        answer = as_api_error(error)
        record_of(request).failed(answer)
        return JSONResponse(answer.body, answer.status, answer.headers)

    async def gone(request: Request, error: Exception) -> Response:
        record_of(request).outcome = "cancelled"
        return Response(status_code=499)  # nginx's word for it; nobody reads it

    for kind in (ApiError, DiffusionError, HTTPException):
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(ClientGone, gone)
    app.add_middleware(AccessLog, metrics=metrics, failed=failed)
    return app


def _tracing(url: str) -> "Tracing":
    if not url.startswith(("http://", "https://")):
        allowed = "http://HOST:4318/v1/traces, or another address for OTLP over HTTP"
        raise InvalidRequest(f"trace_url is {url!r}: use {allowed}", "trace_url", url, allowed)
    try:
        from ._tracing import Tracing
    except ModuleNotFoundError as error:
        raise DiffusionError(f"{error.name} is not installed: pip install 'triton-diffusion[trace]'") from error
    return Tracing(url)


def _name(checkpoint: Checkpoint | None) -> str:
    return "text_to_image" if checkpoint is None else checkpoint.name


def _check_model(name: str | None, checkpoint: Checkpoint | None) -> None:
    served = _name(checkpoint)
    if name not in (None, served):
        raise ApiError(404, "model_not_found", f"model is {name!r}: use {served!r}, or leave it out", "model")


def _model(checkpoint: Checkpoint | None, created: int) -> dict[str, object]:
    return {"id": _name(checkpoint), "object": "model", "created": created, "owned_by": "triton-diffusion"}
