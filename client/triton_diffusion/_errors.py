"""Errors of the package.

DiffusionError              request_id
├── InvalidRequest          field, value, allowed: a value is wrong, and trying again gives the same
├── ServerUnavailable       retry_after: no server there, not ready, or the connection was lost; tried again
│   ├── ServerOverloaded    it is there, and takes no more for now; tried again
│   └── WrongServer         something is there, but it does not serve Triton Diffusion, or not to this client
├── DeadlineExceeded        no result within `timeout`
└── GenerationFailed        the server accepted the request and could not finish it
"""


class DiffusionError(Exception):
    """Base of every error that a call of this package raises on purpose; its text is one line.

    `request_id` is the id under which the request was sent and the server knows it, or None where it never was.
    """

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.request_id = request_id


class InvalidRequest(DiffusionError):
    """A value cannot be sent, or the server refused it.

    `field` is the argument's name, such as "height", or None where the message names none. `value` is what was given
    for it, and `allowed` says what may be, such as "a multiple of 8 from 64 to 128"; either is None where not known.
    """

    def __init__(
        self,
        message: str,
        field: str | None = None,
        value: object = None,
        allowed: str | None = None,
        *,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.field = field
        self.value = value
        self.allowed = allowed


class ServerUnavailable(DiffusionError):
    """There is no server at the URL, it is not ready, or the connection was lost.

    `retry_after` says in how many seconds it is worth asking again, or None where that is not known; `connected` is
    False where no server was there to take the connection.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        request_id: str | None = None,
        connected: bool = True,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after = retry_after
        self.connected = connected


class ServerOverloaded(ServerUnavailable):
    """The server refuses more work for now."""


class WrongServer(ServerUnavailable):
    """No Triton server at the URL, or one that serves other models, or either side does not trust the other's
    certificate. This is not tried again."""


class DeadlineExceeded(DiffusionError):
    """The call took longer than its `timeout`."""


class GenerationFailed(DiffusionError):
    """The server accepted the request and could not finish it; the message is the server's reason."""
