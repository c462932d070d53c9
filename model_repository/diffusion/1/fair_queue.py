"""The order in which generations get room in the loop.

Room goes by priority, and within a priority by virtual finish, as in fair queueing (Demers, Keshav, Shenker, "Analysis
and simulation of a fair queueing algorithm", 1989). The requests of a named caller are one flow, each other request is
a flow of its own. Virtual time is the work, in samples x steps, that each flow present would have got of equal shares;
a request finishes its cost later than it came, or than its flow's last one. So no caller is delayed by more of another
one's work than its own request costs, however many requests that one has sent; requests alike go in the order they
came, short ones before a long one; and nobody starves within a priority, as virtual time overtakes every rank.

A rank never changes, and room is allocated anew whenever somebody comes or goes. A long job that has all the room
therefore gives some up at the next step, keeps its latent, and goes on from there when there is room again.
"""

import bisect
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from batch import Generation
from events import Event
from request import Request

T = TypeVar("T")

Rank: TypeAlias = tuple[int, float, int]
"""Priority, virtual finish, and the order in which they came; the smallest goes first."""


class Waiter(Protocol):
    """Somebody who waits for a generation."""

    cancelled: bool  # nobody waits any more; looked at before every step
    deadline: float  # time.monotonic() from which on nobody waits; looked at before every step

    def report(self, event: Event) -> None:
        """Hear of `event`, from the scheduler's thread: must return at once."""

    def expire(self) -> None:
        """Hear that the deadline has passed; the same holds."""


class Entry:
    """The queue state of a generation."""

    def __init__(self, generation: Generation, waiter: Waiter) -> None:
        self.generation = generation
        self.waiter = waiter
        self.arrived = time.monotonic()
        self.started = False  # it has been in a batch; it may have been taken out again, and wait
        self.reported_position: int | None = None
        self.flow: object = generation.request.caller or self

    @property
    def num_samples(self) -> int:
        return self.generation.num_samples


class Turns(Generic[T]):
    """Items that are taken one at a time: by priority, and within one callers take turns. Safe from every thread."""

    def __init__(self) -> None:
        self._flows: dict[tuple[int, object], deque[T]] = {}  # the one whose turn it is first
        self._one_at_a_time = threading.Lock()

    def put(self, item: T, request: Request) -> None:
        with self._one_at_a_time:
            self._flows.setdefault((request.priority, request.caller or object()), deque()).append(item)

    def take(self) -> T | None:
        """The next item; None where there is none."""
        with self._one_at_a_time:
            if not self._flows:
                return None
            flow = min(self._flows, key=lambda flow: flow[0])
            items = self._flows.pop(flow)
            item = items.popleft()
            if items:
                self._flows[flow] = items
            return item


class FairQueue:
    """All entries that have begun or wait, in the order of their rank."""

    def __init__(self, room: int) -> None:
        """`room`: samples that may be in the loop at once, at least as many as the largest generation has."""
        self._room = room
        self._ranked: list[tuple[Rank, Entry]] = []
        self._serial = itertools.count()
        self._virtual_time = 0.0
        self._flows: Counter[object] = Counter()  # requests of each
        self._finish: dict[object, float] = {}  # of each flow's last request

    def __len__(self) -> int:
        return len(self._ranked)

    @property
    def entries(self) -> list[Entry]:
        return [entry for _, entry in self._ranked]

    def join(self, entry: Entry) -> None:
        request = entry.generation.request
        finish = max(self._virtual_time, self._finish.get(entry.flow, 0.0)) + request.cost
        self._flows[entry.flow] += 1
        self._finish[entry.flow] = finish
        bisect.insort(self._ranked, ((request.priority, finish, next(self._serial)), entry))

    def leave(self, gone: Sequence[Entry]) -> None:
        self._ranked = [ranked for ranked in self._ranked if ranked[1] not in gone]
        for entry in gone:
            self._flows[entry.flow] -= 1
            if not self._flows[entry.flow]:  # the past of who is not here counts for nothing
                del self._flows[entry.flow], self._finish[entry.flow]

    def advance(self, num_samples: int) -> None:
        """Count a step of so many samples."""
        self._virtual_time += num_samples / len(self._flows)

    def allocate(self) -> tuple[list[Entry], list[Entry]]:
        """Those with room and those who wait, each in order. The first always has room; one that does not fit lets
        others go first."""
        active, waiting, room = [], [], self._room
        for _, entry in self._ranked:
            if entry.num_samples <= room:
                room -= entry.num_samples
                active.append(entry)
            else:
                waiting.append(entry)
        return active, waiting
