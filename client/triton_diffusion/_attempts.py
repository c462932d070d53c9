"""Attempts of a call: the choice of a server, and after an error the choice of another try and its time. Does no input
or output.

A call is tried again after ServerUnavailable and ServerOverloaded only: there the server has done nothing that could be
repeated, or its work is lost and the same seed makes it again. The next try goes to another server where one is up;
where none is, it waits: longer each time, or as long as the server asks for, and a random part less or more, so that
clients that failed together do not come back together.
"""

import logging
import random
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, TypeVar

from ._checkpoint import Checkpoint
from ._deadline import Deadline
from ._errors import (
    GenerationFailed,
    InvalidRequest,
    ServerUnavailable,
    WrongServer,
)

FIRST_PAUSE = 0.25  # seconds
LONGEST_PAUSE = 8.0
RESTART = 20.0
"""Seconds in which a server that is lost is started again: who has reached it before asks on for so long, and only
tries that did reach it count against `retries`."""

T = TypeVar("T")  # a transport
_log = logging.getLogger("triton_diffusion")


def _pause(failures: int, asked_for: float) -> float:
    """Seconds to wait after so many failures, one after another, of which the last server asked for `asked_for`."""
    own = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1)
    return max(own, asked_for * random.uniform(1, 1.5))


class Server(Generic[T]):
    """One of the servers of a client, and what the client knows of it."""

    def __init__(self, transport: T) -> None:
        self.transport = transport
        self.checkpoint: Checkpoint | None = None  # asked for once
        self.in_flight = 0  # calls of this client
        self.failures = 0  # one after another
        self.down_until = 0.0  # time.monotonic(); avoided until then where another is up


class Servers(Generic[T]):
    """The servers of a client. Safe for several threads."""

    def __init__(self, transports: Sequence[T], retries: int) -> None:
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            raise InvalidRequest(f"retries is {retries!r}: use 0 or more", "retries", retries, "0 or more")
        self.all = [Server(transport) for transport in transports]
        self.retries = retries
        self.reached = False  # one of them, by any call
        self.closed = False
        self.lock = threading.Lock()

    def attempts(self, timeout: float | None) -> "Attempts[T]":
        """Those of a call that begins now. Raises InvalidRequest for the timeout."""
        self.check_open()
        return Attempts(self, Deadline(timeout))

    def check_open(self) -> None:
        if self.closed:
            raise RuntimeError("the client is closed: make a new one")


class Attempts(Generic[T]):
    """The tries of one call.

    attempts = servers.attempts(timeout)
    while True:
        with attempts.next() as server:
            return ...  # an error after which to try again goes no further than this block
        time.sleep(attempts.pause)
    """

    def __init__(self, servers: Servers[T], deadline: Deadline) -> None:
        self.deadline = deadline
        self.pause = 0.0  # seconds to wait before the next try
        self._servers = servers
        self._failed = 0
        self._counted = 0  # of these, those that count against the retries
        self._gone_since = 0.0  # time.monotonic(); when a server was last there, or the first failure

    def next(self) -> "_Attempt[T]":
        self._servers.check_open()
        with self._servers.lock:
            now = time.monotonic()
            # The one with the least to do of those that are up; the first of equals.
            server = min(self._servers.all, key=lambda server: (max(0.0, server.down_until - now), server.in_flight))
            server.in_flight += 1
        return _Attempt(self, server)

    def _ended(self, server: Server[T], error: BaseException | None) -> bool:
        """True if the call goes on in spite of `error`."""
        with self._servers.lock:
            server.in_flight -= 1
            if error is None or isinstance(error, InvalidRequest | GenerationFailed):  # it answers
                server.failures, server.down_until = 0, 0.0
                self._servers.reached = True
            if not isinstance(error, ServerUnavailable) or isinstance(error, WrongServer):
                return False
            server.checkpoint = None  # it may come back with another
            now = time.monotonic()
            asked_for = error.retry_after or 0.0
            if now >= server.down_until:  # calls that fail together count once
                server.failures += 1
                server.down_until = now + _pause(server.failures, asked_for)
            self._failed += 1
            self._servers.reached |= error.connected
            if error.connected or self._failed == 1:
                self._gone_since = now
            starts_again = self._servers.reached and not error.connected
            self._counted += not starts_again
            another_is_up = any(server.down_until <= now for server in self._servers.all)
            self.pause = 0.0 if another_is_up else _pause(self._failed, asked_for)
            retries = self._servers.retries
            goes_on = retries > 0 and now - self._gone_since < RESTART if starts_again else self._counted <= retries
        left = self.deadline.left()
        if self._servers.closed or not goes_on or (left is not None and self.pause >= left):
            return False
        _log.info(
            "request %s: %s; trying again in %.2f s, the %d. time",
            error.request_id,
            error,
            self.pause,
            self._failed,
        )
        return True


class _Attempt(Generic[T]):
    """One try; as a context manager it gives the server, and swallows the error after which there is another try."""

    def __init__(self, attempts: Attempts[T], server: Server[T]) -> None:
        self._attempts = attempts
        self._server = server

    def __enter__(self) -> Server[T]:
        return self._server

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return self._attempts._ended(self._server, error)
