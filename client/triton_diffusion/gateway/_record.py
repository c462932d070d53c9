"""The record of a request, which log, metrics and trace are written from."""

import time

from fastapi import Request

from ._api_error import ApiError


class Record:
    """The course of one request. Nothing that a prompt could be told from is in it."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.key: str | None = None  # the key's name, and not the key itself
        self.outcome: str | None = None  # one of the metrics' OUTCOMES, once it is known
        self.code: str | None = None  # of the error
        self.steps: int | None = None  # asked for, or the server's default, once that is known
        self.images = 0
        self.status: int | None = None  # HTTP's, once it is sent
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the request came."""
        return time.monotonic() - self._began

    def done(self, images: int) -> None:
        self.outcome, self.images = "done", images

    def failed(self, error: ApiError) -> None:
        self.outcome, self.code = error.outcome, error.code


def record_of(request: Request) -> Record:
    record: Record = request.state.record
    return record
