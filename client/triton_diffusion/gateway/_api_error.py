"""Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""

import math
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException

from .._errors import DeadlineExceeded, DiffusionError, ServerOverloaded, ServerUnavailable

_PAUSE = 1.0  # seconds after which to ask again, if the server named no time
# OpenAI's clients try 429 and every status from 500 again, unless told not to.
_FINAL = {"x-should-retry": "false"}
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer that is an error. `param` is the field of the request that it is about."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    @property
    def outcome(self) -> str:
        """The outcome's name in log and metrics, as the server names the same."""
        match self.status, self.code:
            case (429, _) | (_, "server_overloaded"):
                return "refused"
            case 504, _:
                return "expired"
        return "failed" if self.status >= 500 else "invalid"

    @property
    def body(self) -> dict[str, object]:
        kind = "server_error" if self.status >= 500 else _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def as_api_error(error: Exception) -> ApiError:
    """The answer for any exception. The text of one that is none of this package's stays in the log."""
    match error:
        case ApiError():
            return error
        case DiffusionError():
            return _of_the_server(error)
        case HTTPException():  # no such path, or not with this method
            return ApiError(error.status_code, _code(error.status_code), str(error.detail), headers=error.headers)
        case _:
            return ApiError(500, "internal_error", "the gateway failed: its log says why", headers=_FINAL)


def _code(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_")


def _of_the_server(error: DiffusionError) -> ApiError:
    match error:
        case ServerUnavailable():
            seconds = error.retry_after or _PAUSE
            code = "server_overloaded" if isinstance(error, ServerOverloaded) else "server_unavailable"
            return ApiError(503, code, str(error), headers={"retry-after": f"{math.ceil(seconds)}"})
        case DeadlineExceeded():
            return ApiError(504, "timeout", str(error), headers=_FINAL)
        case _:
            return ApiError(500, "generation_failed", str(error), headers=_FINAL)
