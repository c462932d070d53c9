"""How much one key may have running."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from ._failures import Refusal


class Slots:
    """So many generations at once for each key. Belongs to one event loop."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, name: str) -> Generator[None]:
        """Take a slot of `name`. Raises Refusal where there is none."""
        if self._taken[name] >= self._each:
            message = f"{self._each} generations are running for this key: wait until one ends"
            raise Refusal(429, "rate_limit_exceeded", message, headers={"retry-after": "1"})
        self._taken[name] += 1
        try:
            yield
        finally:
            self._taken[name] -= 1
