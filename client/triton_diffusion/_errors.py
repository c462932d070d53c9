"""What can go wrong.

DiffusionError
├── InvalidRequest      a value is wrong; nothing was generated, and trying again gives the same
├── ServerUnavailable   no server there, not ready, or the connection was lost
├── DeadlineExceeded    no result within `timeout`
└── GenerationFailed    the server accepted the request and could not finish it
"""


class DiffusionError(Exception):
    """Base of every error that a call of this package raises on purpose."""


class InvalidRequest(DiffusionError):
    """A value cannot be sent, or the server refused it.

    `field` is the argument's name, such as "height", or None where the message names none.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ServerUnavailable(DiffusionError):
    """There is no server at the URL, it is not ready, it has no such model, or the connection was lost."""


class DeadlineExceeded(DiffusionError):
    """The call took longer than its `timeout`."""


class GenerationFailed(DiffusionError):
    """The server accepted the request and could not finish it; the message is the server's reason."""
