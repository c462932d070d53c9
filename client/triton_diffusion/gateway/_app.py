"""The application: its paths, and what a request goes through on its way to the server."""

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from .._async_client import AsyncClient
from .._errors import DiffusionError, InvalidRequest
from .._response import Checkpoint
from ._body import MAX_BODY, read_json
from ._connection import ClientGone, EventStream, while_connected
from ._failures import Refusal, api_error
from ._keys import Caller, Keys
from ._limit import Slots
from ._metrics import Metrics
from ._order import Order
from ._reply import Reply

READY_TIMEOUT = 2.0  # seconds
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": Order.model_json_schema()}}}}


def create_app(
    client: AsyncClient,
    *,
    keys: Keys | None = None,
    concurrency: int = 8,
    max_body: int = MAX_BODY,
    timeout: float | None = None,
) -> FastAPI:
    """The ASGI application; it closes `client` (gRPC) when it ends.

    keys: who may ask; None lets everybody. concurrency: generations of one key at once. max_body: bytes. timeout:
    seconds for one generation, waiting included.
    """
    metrics = Metrics()
    slots = Slots(concurrency)
    started = int(time.time())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with client:
            yield

    app = FastAPI(title="Triton Diffusion gateway", lifespan=lifespan, docs_url=None, redoc_url=None)

    def caller(request: Request) -> Caller:
        return Caller("anonymous") if keys is None else keys.caller(request.headers.get("authorization"))

    @app.post("/v1/images/generations", response_model=None, openapi_extra=_BODY)
    async def generate(request: Request) -> Response:
        """Make pictures, as OpenAI's images API does."""
        name, priority = caller(request)
        order = Order.parsed(await read_json(request, max_body))
        async with AsyncExitStack() as held:  # until the answer is out: a stream takes it along
            held.enter_context(slots.taken(name))
            generation = held.enter_context(metrics.generation(name))
            checkpoint = await while_connected(request, client.checkpoint(timeout))
            _check_model(order.model, checkpoint)
            reply = Reply(order, checkpoint, generation)
            try:
                events = client.stream(**order.arguments(), priority=priority, timeout=timeout)
                await held.enter_async_context(aclosing(events))  # which cancels what is not done
                if not order.stream:
                    return JSONResponse(await while_connected(request, reply.whole(events)))
                first = await while_connected(request, anext(events))  # a wrong value is refused with a status
            except InvalidRequest as error:
                raise order.refusal(error) from error
            return EventStream(reply.chunks(first, events), held.pop_all())

    @app.get("/v1/models", response_model=None)
    async def models(request: Request) -> Response:
        """The checkpoint that is served, as the only model."""
        caller(request)
        model = _model(await client.checkpoint(timeout), started)
        return JSONResponse({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}", response_model=None)
    async def model(request: Request, name: str) -> Response:
        """What is known of one model."""
        caller(request)
        checkpoint = await client.checkpoint(timeout)
        _check_model(name, checkpoint)
        return JSONResponse(_model(checkpoint, started))

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """This process answers."""
        return "ok\n"

    @app.get("/readyz", response_model=None)
    async def readyz() -> Response:
        """Triton is there, and all its models are loaded."""
        if await client.is_ready(READY_TIMEOUT):
            return PlainTextResponse("ready\n")
        return PlainTextResponse("the Triton server is not ready\n", 503)

    @app.get("/metrics", response_model=None)
    async def prometheus() -> Response:
        """Counters for Prometheus."""
        return Response(metrics.text(), media_type=metrics.content_type)

    async def failed(request: Request, error: Exception) -> Response:
        refusal = api_error(error)
        metrics.refused(refusal.code)
        return JSONResponse(refusal.body, refusal.status, refusal.headers)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nginx's word for it; nobody reads it

    for kind in (Refusal, DiffusionError, HTTPException, Exception):
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(ClientGone, gone)
    return app


def _name(checkpoint: Checkpoint | None) -> str:
    return "text_to_image" if checkpoint is None else checkpoint.name


def _check_model(name: str | None, checkpoint: Checkpoint | None) -> None:
    served = _name(checkpoint)
    if name not in (None, served):
        raise Refusal(404, "model_not_found", f"model is {name!r}: use {served!r}, or leave it out", "model")


def _model(checkpoint: Checkpoint | None, created: int) -> dict[str, object]:
    return {"id": _name(checkpoint), "object": "model", "created": created, "owned_by": "triton-diffusion"}
