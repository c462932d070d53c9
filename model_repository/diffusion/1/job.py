"""A job: one request from its acceptance to its last response."""

import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from errors import DeadlineExceeded
from events import Event, Failed
from request import Request

Respond: TypeAlias = Callable[[Event], bool]
"""Send the response to an event; False where nobody waits for the next one any more."""


UNSENT = 8
"""Events of a job that may wait to be sent."""


class Job:
    """The state of a request on its way; the `Waiter` of its own generation."""

    def __init__(
        self,
        request: Request,
        respond: Respond,
        request_id: str,
        timeout: float,
        handle: Callable[["Job", Event], None],
        interval: float = 0.0,
    ) -> None:
        """`timeout`: seconds that somebody waits. `interval`: seconds between two events that are sent on the way.
        `handle` takes the events that are reported; returns at once."""
        self.request = request
        self.respond = respond
        self.cancelled = False
        self.unsent: deque[Event] = deque()
        self.began = time.monotonic()
        self.deadline = self.began + timeout
        self._request_id = request_id
        self._timeout = timeout
        self._interval = interval
        self._next_sent = self.began  # time.monotonic(), at the earliest
        self._handle = handle
        self._in_loop_since: float | None = None  # time.monotonic()

    def cancel(self) -> None:
        """Take part in no further step."""
        self.cancelled = True

    def report(self, event: Event) -> None:
        self._handle(self, event)

    def take_to_send(self, event: Event) -> bool:
        """Put `event` of the way into `unsent`; False where it is left out, for newer ones follow."""
        now = time.monotonic()
        if now < self._next_sent or len(self.unsent) >= UNSENT:
            return False
        self._next_sent = now + self._interval
        self.unsent.append(event)
        return True

    def expire(self) -> None:
        self.report(Failed(self.overdue()))

    def overdue(self) -> DeadlineExceeded:
        """The error of a job whose deadline has passed."""
        return DeadlineExceeded(self._timeout)

    def enter_loop(self) -> None:
        """Note that the first step begins."""
        self._in_loop_since = time.monotonic()

    def record(self, outcome: str) -> dict[str, object]:
        """The facts of an ended job, for the log."""
        request, now = self.request, time.monotonic()
        waited = (self._in_loop_since or now) - self.began
        return {
            "request_id": self._request_id,
            "outcome": outcome,
            "seconds": round(now - self.began, 3),
            "queue_seconds": round(waited, 3),
            "steps": request.num_steps,
            "images": request.num_images,
            "size": f"{request.width}x{request.height}",
            "seed": request.seed,
            "priority": request.priority.name.lower(),
            **({"caller": request.caller} if request.caller else {}),
        }
