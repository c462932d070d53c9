"""Who has room in the loop, and who waits for it.

Room goes by priority, and within a priority by virtual finish, as in fair queueing: the steps that the loop had made
when a request came, plus the request's cost (steps x images). So requests alike go in the order they came, short ones
before a long one, and a long one is overtaken only by what comes before the loop has made as many steps as it costs:
nobody starves within a priority. (Demers, Keshav, Shenker, "Analysis and simulation of a fair queueing algorithm",
1989, with each request a flow of its own.)

A rank never changes, and room is shared out anew whenever somebody comes or goes. A long job that has all the room
therefore gives some up at the next step, keeps its latent, and goes on from there when there is room again.
"""

import bisect
import itertools
from typing import TypeAlias

from batch import Generation

Rank: TypeAlias = tuple[int, int, int]
"""Priority, virtual finish in steps, and the order in which they came; the smallest goes first."""


class Lineup:
    """All generations that have begun or wait, in the order of their rank."""

    def __init__(self, room: int) -> None:
        """`room`: samples that may be in the loop at once, at least as many as the largest generation has."""
        self._room = room
        self._ranked: list[tuple[Rank, Generation]] = []
        self._serial = itertools.count()

    def __len__(self) -> int:
        return len(self._ranked)

    @property
    def generations(self) -> list[Generation]:
        return [generation for _, generation in self._ranked]

    def join(self, generation: Generation, clock: int) -> None:
        """`clock`: steps that the loop has made."""
        request = generation.request
        bisect.insort(self._ranked, ((request.priority, clock + request.cost, next(self._serial)), generation))

    def leave(self, gone: list[Generation]) -> None:
        self._ranked = [entry for entry in self._ranked if entry[1] not in gone]

    def share_out(self) -> tuple[list[Generation], list[Generation]]:
        """Who has room, and who waits, each in order. The first always has; one that does not fit lets others go."""
        active, waiting, room = [], [], self._room
        for _, generation in self._ranked:
            if generation.num_samples <= room:
                room -= generation.num_samples
                active.append(generation)
            else:
                waiting.append(generation)
        return active, waiting
