"""The limit of generations that one key may have running at once."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from ._api_error import ApiError


class ConcurrencyLimit:
    """The running generations of each key, `limit` of one key at most. Belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: Counter[str] = Counter()

    @contextmanager
    def running(self, name: str) -> Generator[None]:
        """One generation of the key `name`, for as long as the context lasts. Raises ApiError at the limit."""
        if self._running[name] >= self._limit:
            message = f"{self._limit} generations are running for this key: wait until one ends"
            raise ApiError(429, "rate_limit_exceeded", message, headers={"retry-after": "1"})
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
