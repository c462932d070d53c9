"""The in-flight loop: one denoiser call a step for all active generations. Knows no Triton."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from batch import Batch, Generation, Group
from errors import ShuttingDown
from events import Cancelled, Completed, Failed, Preview, Progress, Queued
from fair_queue import Entry, FairQueue, Waiter
from networks import Network

NEAR = 8
"""Places at the head of the queue, of which a generation hears every one."""


class Metrics(Protocol):
    """Counters, gauges and histograms by name."""

    def add(self, name: str, amount: float) -> None:
        """Count `amount` up, or, for a gauge, down."""

    def observe(self, name: str, value: float) -> None:
        """Put `value` into a histogram."""


class Scheduler:
    """Advances the active generations together, allocates room among those present, and retires them when done.

    Generations of different groups cannot share a call: each group has its batch, and the batches take turns.
    """

    def __init__(self, denoiser: Network, max_active_samples: int, metrics: Metrics) -> None:
        """`max_active_samples` bounds the samples of all batches together; the rest wait."""
        self._denoiser = denoiser
        self._metrics = metrics
        self._arriving: list[Entry] = []
        self._queue = FairQueue(max_active_samples)
        self._batches: deque[tuple[Batch, list[Entry]]] = deque()
        self._waiting: list[Entry] = []
        self._active_samples = 0
        self._all_reported = 0.0  # when all heard their positions, time.monotonic()
        self._changed = False  # somebody came or went since room was allocated
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation, waiter: Waiter) -> None:
        """Queue `generation`; `waiter` hears the rest."""
        with self._wake:
            if not self._closing:
                self._arriving.append(Entry(generation, waiter))
                self._metrics.add("waiting_requests", 1)
                self._wake.notify()
                return
        waiter.report(Failed(ShuttingDown()))

    def close(self) -> None:
        """End the loop after the step in progress; what has not finished fails with ShuttingDown."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _loop(self) -> None:
        while self._wait_for_work():
            self._drop()
            if self._changed:
                self._allocate()
            self._report_positions()
            if self._batches:
                self._step(*self._batches[0])
                self._batches.rotate(-1)
        for entry in self._queue.entries + self._arriving:
            entry.waiter.report(Failed(ShuttingDown()))

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do, and take in who has come; False when it is time to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._arriving or len(self._queue) or self._changed)
            if self._closing:
                return False
            arrived, self._arriving = self._arriving, []
        for entry in arrived:
            self._queue.join(entry)
        self._waiting += arrived
        self._changed = self._changed or bool(arrived)
        return True

    def _drop(self) -> None:
        """Drop cancelled and expired generations."""
        now = time.monotonic()
        gone = [e for e in self._queue.entries if e.waiter.cancelled or e.waiter.deadline <= now]
        for entry in gone:
            if entry.waiter.cancelled:
                entry.waiter.report(Cancelled())
            else:
                entry.waiter.expire()
        self._leave(gone)

    def _leave(self, gone: Sequence[Entry]) -> None:
        if gone:
            self._queue.leave(gone)
            self._changed = True

    def _allocate(self) -> None:
        """Decide anew who takes part in the next step."""
        active, waiting = self._queue.allocate()
        for entry in active:
            if not entry.started:
                entry.started = True
                self._metrics.observe("queue_wait_seconds", time.monotonic() - entry.arrived)
                entry.waiter.report(Progress(0))
        self._regroup(active)
        active_samples = sum(entry.num_samples for entry in active)
        self._metrics.add("active_samples", active_samples - self._active_samples)
        self._metrics.add("waiting_requests", len(waiting) - len(self._waiting))
        self._active_samples, self._waiting = active_samples, waiting
        self._changed = False

    def _regroup(self, active: Sequence[Entry]) -> None:
        """Put `active` into batches by group. A batch that stays the same is kept, and so are their turns."""
        members: dict[Group, list[Entry]] = {batch.group: [] for batch, _ in self._batches}
        for entry in active:
            members.setdefault(entry.generation.group, []).append(entry)
        current = {frozenset(entries): batch for batch, entries in self._batches}
        wanted = {frozenset(entries): entries for entries in members.values() if entries}
        for entries, batch in current.items():
            if entries not in wanted:
                batch.store()
        self._batches = deque(
            (current.get(key) or Batch([entry.generation for entry in entries]), entries)
            for key, entries in wanted.items()
        )

    def _report_positions(self) -> None:
        """Report to those who wait to begin how many must go first: each hears its first position, every change near
        the head, and all hear theirs once a second, which shows to both ends that the other is still there."""
        now = time.monotonic()
        all_hear = now - self._all_reported >= 1
        if all_hear:
            self._all_reported = now
        for position, entry in enumerate(self._waiting, start=1):
            reported = entry.reported_position
            if not entry.started and (all_hear or reported is None or (position <= NEAR and position != reported)):
                entry.reported_position = position
                entry.waiter.report(Queued(position))

    def _step(self, batch: Batch, entries: Sequence[Entry]) -> None:
        """Advance `batch` by one denoiser call, and retire who is done."""
        start = time.monotonic()
        try:
            batch.advance(self._denoiser)
        except Exception as reason:  # whatever the network raised fails the requests in the call, and only those
            for entry in entries:
                entry.waiter.report(Failed(reason))
            self._leave(entries)
            return
        self._queue.advance(batch.num_samples)
        self._metrics.add("denoiser_seconds", time.monotonic() - start)
        self._metrics.add("denoiser_steps", 1)
        self._metrics.add("denoiser_samples", batch.num_samples)
        for entry in entries:
            generation = entry.generation
            if not generation.between_steps:
                continue
            interval = generation.request.preview_interval
            if interval and generation.step % interval == 0 and not generation.done:
                entry.waiter.report(Preview(generation.step, batch.denoised(generation)))
            else:
                entry.waiter.report(Progress(generation.step))
        self._retire(batch, [entry for entry in entries if entry.generation.done])

    def _retire(self, batch: Batch, done: Sequence[Entry]) -> None:
        """Hand on the latents of those who have made their last step."""
        if done:
            batch.store()
        for entry in done:
            entry.waiter.report(Completed(entry.generation.latent))
        self._leave(done)
