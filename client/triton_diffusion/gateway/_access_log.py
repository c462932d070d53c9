"""The access log: one line a request, and the id that the request is answered and logged with."""

import logging
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._request import is_request_id, new_request_id
from ._metrics import Metrics
from ._record import Record

_HEADER = "x-request-id"
_PROBES = ("/healthz", "/readyz", "/metrics")  # asked every few seconds: worth a line only if they fail
_log = logging.getLogger("triton_diffusion.gateway")


class AccessLog:
    """ASGI middleware that keeps a `Record` of each request in `request.state`, and logs it in the end.

    The caller may name the request with the header x-request-id; without one, or with one that could spoil a log, the
    request gets an id of the gateway's.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, failed: Callable[[Request, Exception], Awaitable[Response]]
    ) -> None:
        """failed: gives the answer to an exception that nothing in `app` has caught."""
        self._app = app
        self._metrics = metrics
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(_HEADER)
        record = Record(given if given is not None and is_request_id(given) else new_request_id())
        scope.setdefault("state", {})["record"] = record

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)[_HEADER] = record.request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            response = await self._failed(Request(scope), error)
            if record.status is not None:  # part of the answer is out: uvicorn hangs up, and says why in the log
                raise
            _log.exception("request %s failed", record.request_id)
            await response(scope, receive, answer)
        finally:
            if record.code is not None:
                self._metrics.error(record.code)
            _write(record, scope)


def _write(record: Record, scope: Scope) -> None:
    outcome = record.outcome or "done"
    if outcome == "done" and scope["path"] in _PROBES:
        return
    facts = {
        "event": "request",
        "request_id": record.request_id,
        "method": scope["method"],
        "path": scope["path"][:256],
        "key": record.key,
        "status": record.status,
        "outcome": outcome,
        "code": record.code,
        "seconds": round(record.seconds, 3),
        "images": record.images or None,
    }
    level = logging.INFO if outcome in ("done", "cancelled") else logging.WARNING
    _log.log(level, "%s", outcome, extra={"facts": {name: fact for name, fact in facts.items() if fact is not None}})
