"""The health check of a running server: seconds for which it has not answered.

Every try is a new connection, so one of Triton's HTTP threads that is busy with a large body is not taken for all of
them. The seconds of tries are added up, not read off a clock: a launcher that was itself stopped for a while, or a
machine that slept, finds no hung server when it goes on.
"""

import threading
import time
import urllib.request
from collections.abc import Callable

PAUSE = 1.0
"""Seconds between two tries."""
ATTEMPT = 5.0
"""Seconds that one try waits for its answer."""


class HealthCheck:
    """Asks again and again until `close`."""

    def __init__(self, *checks: Callable[[], bool]) -> None:
        self.unanswered = 0.0  # seconds since the last time when all of `checks` were answered
        self._checks = checks
        self._closed = threading.Event()
        threading.Thread(target=self._ask, daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _ask(self) -> None:
        while not self._closed.wait(PAUSE):
            start = time.monotonic()
            if all(check() for check in self._checks):
                self.unanswered = 0.0
            else:
                self.unanswered += PAUSE + min(time.monotonic() - start, ATTEMPT * len(self._checks))


def http_text(url: str) -> str | None:
    """The body of `url`, or None if it does not answer with success."""
    try:
        with urllib.request.urlopen(url, timeout=ATTEMPT) as response:
            return response.read().decode()
    except (OSError, ValueError):
        return None
