"""The in-flight loop: one denoiser call a step for all active generations. Knows no Triton."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from batch import Batch, Generation, Group
from errors import ShuttingDown
from events import Cancelled, Completed, Event, Failed, Preview, Progress, Queued
from fair_queue import Entry, FairQueue, Waiter
from networks import Network
from networks.arrays import HOST, Arrays, Mark

NEAR = 8
"""Places at the head of the queue, of which a generation hears every one."""


class Metrics(Protocol):
    """Counters, gauges and histograms by name."""

    def add(self, name: str, amount: float) -> None:
        """Count `amount` up, or, for a gauge, down."""

    def observe(self, name: str, value: float) -> None:
        """Put `value` into a histogram."""


@dataclass(frozen=True)
class Underway:
    """A step that the device has been given."""

    began: Mark
    call: tuple[Mark, Mark]  # before and after the denoiser
    done: Mark
    samples: int
    rows: int
    reports: list[tuple[Entry, Event]]  # due when it is done


class Scheduler:
    """Advances the active generations together, allocates room among those present, and retires them when done.

    Generations of different groups cannot share a call: each group has its batch, and the batches take turns. Where the
    denoiser is on a device, the host prepares a step while the device has another one to do.
    """

    def __init__(self, denoiser: Network, max_active_samples: int, metrics: Metrics, arrays: Arrays = HOST) -> None:
        """`max_active_samples` bounds the samples of all batches together; the rest wait."""
        self._denoiser = denoiser
        self._arrays = arrays
        self._underway: deque[Underway] = deque()
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
        self._catch_up(0)
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
        if gone:
            self._catch_up(0)  # so that nobody hears of a step after the end
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
        began = self._arrays.mark()
        try:
            call = batch.advance(self._denoiser)
        except Exception as reason:  # whatever the network raised fails the requests in the call, and only those
            self._catch_up(0)
            self._fail(entries, reason)
            return
        self._queue.advance(batch.num_samples)
        reports = [(entry, _news(batch, entry.generation)) for entry in entries if entry.generation.between_steps]
        reports += self._retire(batch, [entry for entry in entries if entry.generation.done])
        done = self._arrays.mark()
        self._underway.append(Underway(began, call, done, batch.num_samples, batch.num_rows, reports))
        self._catch_up(self._arrays.ahead if len(self._queue) else 0)

    def _retire(self, batch: Batch, done: Sequence[Entry]) -> list[tuple[Entry, Event]]:
        """The latents of those who have made their last step."""
        if done:
            batch.store()
        self._leave(done)
        return [(entry, Completed(entry.generation.latent)) for entry in done]

    def _catch_up(self, ahead: int) -> None:
        """Wait until the device has no more than `ahead` steps to do, and report of the others."""
        while len(self._underway) > ahead:
            step = self._underway.popleft()
            try:
                step.done.wait()
            except Exception as reason:  # of the device, which does nothing more after it
                lost = {entry: None for each in (step, *self._underway) for entry, _ in each.reports}
                self._underway.clear()
                self._fail(list(lost), reason)
                return
            self._count(step)
            for entry, event in step.reports:
                entry.waiter.report(event)

    def _fail(self, entries: Sequence[Entry], reason: Exception) -> None:
        for entry in entries:
            entry.waiter.report(Failed(reason))
        self._leave([entry for entry in entries if entry in self._queue.entries])

    def _count(self, step: Underway) -> None:
        self._metrics.add("denoiser_seconds", step.done.since(step.began))
        self._metrics.add("denoiser_steps", 1)
        self._metrics.add("denoiser_samples", step.samples)
        count_call(self._metrics, "denoiser", *step.call, step.rows)


def count_call(metrics: Metrics, network: str, before: Mark, after: Mark, rows: int) -> None:
    """Count a call of `network` with so many rows; the device has come to both marks."""
    metrics.add(f"network_seconds_{network}", after.since(before))
    metrics.add(f"network_calls_{network}", 1)
    metrics.add(f"network_rows_{network}", rows)


def _news(batch: Batch, generation: Generation) -> Event:
    """What a step is reported as to those who wait for `generation`."""
    interval = generation.request.preview_interval
    if interval and generation.step % interval == 0 and not generation.done:
        return Preview(generation.step, batch.denoised(generation))
    return Progress(generation.step)
