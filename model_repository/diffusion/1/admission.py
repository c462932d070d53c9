"""Admission control: a bounded queue, so that accepted requests finish in time and others are refused at once."""

import math
import threading
import time
from collections import Counter, deque

from errors import Overloaded
from request import Request

LONGEST_HINT = 60  # seconds
REMEMBERED = 64  # images that left, whose pace tells when there will be room


class Admission:
    """Counts the images that are on their way, and refuses those that would have to wait behind too many others.

    A request of higher priority goes ahead of the others and so does not count them: when the queue is full of low
    ones, a high one still gets in. So does a request of a named caller who has less inside than an equal share of the
    places, up to twice as many images in all: one caller's flood keeps no other out.
    """

    def __init__(self, max_active_samples: int, max_queue: int) -> None:
        """`max_queue`: images that may wait while `max_active_samples` are in the loop."""
        self._room = max_active_samples
        self._limit = max_active_samples + max_queue
        self._inside: Counter[int] = Counter()  # images by priority
        self._by_caller: Counter[str] = Counter()  # images of each named caller
        self._left: deque[float] = deque(maxlen=REMEMBERED)  # when each image did, time.monotonic()
        self._one_at_a_time = threading.Lock()

    def enter(self, request: Request) -> None:
        """Let `request` in. Raises Overloaded."""
        with self._one_at_a_time:
            ahead = sum(count for priority, count in self._inside.items() if priority <= request.priority)
            if ahead + request.num_images > self._limit and not self._is_owed(request):
                waiting = max(0, ahead - self._room)
                raise Overloaded(waiting, self._seconds_for(waiting))
            if not self._inside.total():
                self._left.clear()  # the time in which nobody was there says nothing about the pace
            self._inside[request.priority] += request.num_images
            if request.caller:
                self._by_caller[request.caller] += request.num_images

    def leave(self, request: Request) -> None:
        """`request`, which was let in, needs no more room."""
        with self._one_at_a_time:
            self._inside[request.priority] -= request.num_images
            self._left.extend([time.monotonic()] * request.num_images)
            if request.caller:
                self._by_caller[request.caller] -= request.num_images
                if not self._by_caller[request.caller]:
                    del self._by_caller[request.caller]

    def _is_owed(self, request: Request) -> bool:
        """True where the request's caller keeps to an equal share."""
        if not request.caller or self._inside.total() + request.num_images > 2 * self._limit:
            return False
        callers = len(self._by_caller.keys() | {request.caller})
        return self._by_caller[request.caller] + request.num_images <= self._limit // callers

    def _seconds_for(self, images: int) -> int:
        """Seconds until so many images get into the loop, at the pace at which others left it."""
        if not self._left:
            return 1
        seconds_each = (time.monotonic() - self._left[0]) / len(self._left)
        return min(LONGEST_HINT, max(1, math.ceil(images * seconds_each)))
