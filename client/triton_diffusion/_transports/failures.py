"""Failures: the package's errors from statuses and messages of a server, the same for both protocols."""

import re

from .._errors import (
    DeadlineExceeded,
    DiffusionError,
    GenerationFailed,
    InvalidRequest,
    ServerOverloaded,
    ServerUnavailable,
    WrongServer,
)
from .._request import Request, id_of
from .._settings import DATATYPES

# A gRPC status or an HTTP status; any other one is a GenerationFailed. Triton sends 400, 404, 500 and 503; the others
# come from something else at that address or from a proxy in front of it.
_ERRORS: dict[str, type[DiffusionError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "400": InvalidRequest,
    "NOT_FOUND": WrongServer,  # the model is not in this server's repository
    "UNIMPLEMENTED": WrongServer,
    "UNAUTHENTICATED": WrongServer,
    "403": WrongServer,
    "404": WrongServer,
    "405": WrongServer,
    "413": InvalidRequest,
    "UNAVAILABLE": ServerUnavailable,
    "502": ServerUnavailable,
    "503": ServerUnavailable,
    "RESOURCE_EXHAUSTED": ServerOverloaded,
    "429": ServerOverloaded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "504": DeadlineExceeded,
}
# In a stream Triton sends an error's text without its status. `diffusion` puts Triton's name of it before the text;
# what Triton itself says there is known by its words.
_IN_STREAM = {
    r"INVALID_ARG: ": "INVALID_ARGUMENT",
    r"UNAVAILABLE: ": "UNAVAILABLE",
    r"DEADLINE_EXCEEDED: ": "DEADLINE_EXCEEDED",
    r"INTERNAL: ": "INTERNAL",
    r"(?=.*\binference input\b)": "INVALID_ARGUMENT",
    r"(?=Exceeds maximum queue size\b)": "UNAVAILABLE",
    r"(?=Request for unknown model\b)": "NOT_FOUND",
}
_FIELD = re.compile(rf"\b({'|'.join(DATATYPES)})\b")
_ALLOWED = re.compile(r".*: (?:use |this server's engines take )?(.+)$")
_REQUEST_ID = re.compile(r"^\[request id: [^]]*\] ")  # which Triton puts before its own messages
# Python's words, and gRPC's.
_UNTRUSTED = re.compile(
    r"(?:CERTIFICATE_VERIFY_FAILED(?:\] certificate verify failed)?|UNAUTHENTICATED): (.+?)\.?(?:: OK| \(_ssl.*)?$"
)
_HANDSHAKE = re.compile(r"\bSSL\b|handshake failed|Verification Check failed")
# Words of a server that is lost, whatever status comes with them: it was started again and does not know a region of
# shared memory any more, its gRPC library ended the call, or a proxy ended the stream.
_LOST = re.compile(r"Unable to find shared memory region|^CANCELLED$|RST_STREAM")
# Words of one that is being stopped. A proxy before it may not see that and pass more requests on to it.
_STOPPING = re.compile(r"has no available versions|Server is stopping|the server is shutting down")
_RESTART = 3.0  # seconds, about as long as it goes on to say so
_QUEUE_FULL = "Exceeds maximum queue size"  # Triton's own queue; that of `diffusion` says when to come again
_COME_AGAIN = re.compile(r"\btry again in (\d+(?:\.\d+)?) s\b")
_TOO_LATE = re.compile(r"the deadline of \S+ s has passed\b")  # Triton has no status for it


def error_from_status(
    status: str, message: str, url: str, request: Request | None = None, retry_after: float | None = None
) -> DiffusionError:
    """The error for a gRPC status ("INVALID_ARGUMENT") or an HTTP status ("400") with the server's message.

    request: the request that failed; None for a question, such as whether the server is ready.
    retry_after: seconds after which the server wants to be asked again.
    """
    message = _REQUEST_ID.sub("", message)
    kind, request_id = _kind(status, message), id_of(request)
    if kind is InvalidRequest:
        return _invalid(message, request)
    if not issubclass(kind, ServerUnavailable):
        return kind(message, request_id=request_id)
    stopping = _STOPPING.search(message)
    if retry_after is None:
        hint = _COME_AGAIN.search(message)
        retry_after = float(hint[1]) if hint else _RESTART if stopping else None
    if kind is ServerUnavailable and not stopping and (retry_after is not None or _QUEUE_FULL in message):
        kind = ServerOverloaded
    state = "overloaded" if kind is ServerOverloaded else "not available"
    return kind(f"{url} is {state}: {message}", retry_after, request_id=request_id)


def _kind(status: str, message: str) -> type[DiffusionError]:
    if _TOO_LATE.match(message):
        return DeadlineExceeded
    if _LOST.search(message) or _STOPPING.search(message):
        return ServerUnavailable
    return _ERRORS.get(status, GenerationFailed)


def error_in_stream(message: str, url: str, request: Request) -> DiffusionError:
    """The error for an error response in a gRPC stream."""
    message = _REQUEST_ID.sub("", message)
    for beginning, status in _IN_STREAM.items():
        if match := re.match(beginning, message):
            return error_from_status(status, message[match.end() :], url, request)
    return error_from_status("INTERNAL", message, url, request)


def tls_failure(message: str, url: str, request: Request | None) -> WrongServer | None:
    """The error where `message`, of a connection that could not be made, tells of certificates; else None."""
    if not _HANDSHAKE.search(message):
        return None
    untrusted = _UNTRUSTED.search(message)
    reason = f"its certificate is not trusted ({untrusted[1]})" if untrusted else f"no TLS with it ({message})"
    return WrongServer(f"{url} is not available: {reason}", request_id=id_of(request))


def _invalid(message: str, request: Request | None) -> InvalidRequest:
    # The server's line names the field before the value, which may itself be a text with such a word in it. What is
    # allowed ends the line: "height is 100: use 128".
    found = _FIELD.search(message)
    if found is None or request is None:
        return InvalidRequest(message, found and found[1], request_id=id_of(request))
    allowed = _ALLOWED.search(message)
    return InvalidRequest(
        message, found[1], request.fields.get(found[1]), allowed and allowed[1], request_id=request.id
    )
