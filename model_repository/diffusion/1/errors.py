"""Errors that end a request without an image: each has the outcome it is counted under, and Triton's code for it."""


class RequestError(Exception):
    """One line for the client."""

    outcome = "failed"
    code = "INTERNAL"  # of pb_utils.TritonError


class InvalidRequest(RequestError, ValueError):
    """The field, the value given, and what is allowed."""

    outcome = "invalid"
    code = "INVALID_ARG"


class Overloaded(RequestError):
    """The queue is full."""

    outcome = "refused"
    code = "UNAVAILABLE"

    def __init__(self, waiting: int, seconds: int) -> None:
        """`seconds` after which there may be room."""
        super().__init__(f"the queue is full ({waiting} images wait): try again in {seconds} s")


class ShuttingDown(RequestError):
    """The server is going away: the same request works on another replica, or later."""

    outcome = "refused"
    code = "UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the server is shutting down: send the request again, to another replica or later")


class DeadlineExceeded(RequestError):
    """The time that the request allowed is over."""

    outcome = "expired"
    code = "CANCELLED"  # the nearest that Triton has

    def __init__(self, timeout: float) -> None:
        """`timeout`: what the request allowed, in seconds."""
        super().__init__(f"the deadline of {timeout:g} s has passed: allow more, or ask for fewer steps")


class NotANumber(RequestError):
    """A network computed NaN or infinity, of which no image can be made."""

    def __init__(self, network: str, advice: str = "") -> None:
        """`advice`: what the client can do, where there is something."""
        super().__init__(f"{network} computed NaN or infinity: {advice}export it in FP32, from weights that are finite")
