"""The deadline of a call."""

import time
from numbers import Real

from ._errors import DeadlineExceeded, InvalidRequest

MOST_MICROSECONDS = 2**62  # that INT64 holds, with room for the server to add its clock


class Deadline:
    """The end of a call, all its tries and pauses included."""

    def __init__(self, timeout: float | None) -> None:
        """timeout: seconds from now; None never ends. Raises InvalidRequest."""
        if timeout is not None and not (isinstance(timeout, Real) and timeout > 0):
            raise InvalidRequest(f"timeout is {timeout!r}: use seconds above 0", "timeout", timeout, "seconds above 0")
        self._timeout = timeout
        self._end = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds, never quite 0, which some take for no limit; None without an end."""
        return None if self._end is None else max(1e-3, self._end - time.monotonic())

    @property
    def microseconds(self) -> int | None:
        """The time left as Triton's request parameter `timeout` has it, INT64."""
        left = self.left()
        return None if left is None else int(min(left * 1e6, MOST_MICROSECONDS))

    @property
    def given(self) -> bool:
        """True if there is an end at all."""
        return self._end is not None

    @property
    def passed(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def exceeded(self, url: str, request_id: str | None = None) -> DeadlineExceeded:
        return DeadlineExceeded(f"no result from {url} within {self._timeout:g} s", request_id=request_id)

    def no_later_than(self, seconds: float) -> "Deadline":
        """This deadline, or the one in `seconds` if that comes first."""
        left = self.left()
        return Deadline(seconds if left is None else min(left, seconds))
