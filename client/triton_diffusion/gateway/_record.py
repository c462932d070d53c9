"""What is known of a request once it has been answered; log, metrics and trace tell of it."""

import time

from fastapi import Request

from ._failures import Refusal


class Record:
    """One request as it goes. Nothing of what it asks for is in here, least of all a prompt."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.key: str | None = None  # its name, and not the key itself
        self.outcome: str | None = None  # one of the metrics' OUTCOMES, once it is known
        self.code: str | None = None  # of the error
        self.images = 0
        self.status: int | None = None  # HTTP's, once it is sent
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the request came."""
        return time.monotonic() - self._began

    def done(self, images: int) -> None:
        self.outcome, self.images = "done", images

    def failed(self, refusal: Refusal) -> None:
        self.outcome, self.code = refusal.outcome, refusal.code


def record_of(request: Request) -> Record:
    record: Record = request.state.record
    return record
