"""The in-flight loop: one UNet call a step for all active generations. Knows no Triton, takes a `unet` callable."""

import threading
import time
from collections import deque
from typing import Protocol

from batch import Batch, Generation, UNet
from errors import ShuttingDown
from lineup import Lineup

NEAR = 8
"""Places at the head of the queue, of which a generation hears every one."""


class Metrics(Protocol):
    """Where the loop counts what it does."""

    def add(self, name: str, amount: float) -> None:
        """Count `amount` up, or, for a gauge, down."""

    def observe(self, name: str, value: float) -> None:
        """Put `value` into a histogram."""


class Scheduler:
    """Advances the active generations together, shares the room out among those present, and lets them go when done.

    Generations of different latent sizes cannot share a call: each size has its batch, and the batches take turns.
    """

    def __init__(self, unet: UNet, max_active_samples: int, metrics: Metrics) -> None:
        """`max_active_samples` bounds the samples of all batches together; the rest wait."""
        self._unet = unet
        self._metrics = metrics
        self._arriving: list[Generation] = []
        self._lineup = Lineup(max_active_samples)
        self._batches: deque[Batch] = deque()
        self._waiting: list[Generation] = []
        self._active_samples = 0
        self._clock = 0  # steps made
        self._places_told = 0.0  # when all heard theirs, time.monotonic()
        self._changed = False  # whether somebody came or went since the room was shared out
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Queue `generation`; its listener hears the rest."""
        with self._wake:
            if not self._closing:
                self._arriving.append(generation)
                self._metrics.add("waiting_requests", 1)
                self._wake.notify()
                return
        generation.listener.failed(ShuttingDown())

    def close(self) -> None:
        """End the loop after the step in progress; what has not finished fails with ShuttingDown."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _loop(self) -> None:
        while self._wait_for_work():
            self._let_go()
            if self._changed:
                self._share_out()
            self._tell_places()
            if self._batches:
                self._step(self._batches[0])
                self._batches.rotate(-1)
        for generation in self._lineup.generations + self._arriving:
            generation.listener.failed(ShuttingDown())

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do, and take in who has come; False when it is time to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._arriving or len(self._lineup) or self._changed)
            if self._closing:
                return False
            arrived, self._arriving = self._arriving, []
        for generation in arrived:
            self._lineup.join(generation, self._clock)
        self._waiting += arrived
        self._changed = self._changed or bool(arrived)
        return True

    def _let_go(self) -> None:
        """Take no further step for whom nobody waits any more."""
        now = time.monotonic()
        gone = [g for g in self._lineup.generations if g.listener.cancelled or g.listener.deadline <= now]
        for generation in gone:
            if generation.listener.cancelled:
                generation.listener.dropped()
            else:
                generation.listener.expired()
        self._leave(gone)

    def _leave(self, gone: list[Generation]) -> None:
        if gone:
            self._lineup.leave(gone)
            self._changed = True

    def _share_out(self) -> None:
        """Decide anew who takes part in the next step."""
        active, waiting = self._lineup.share_out()
        for generation in active:
            if not generation.started:
                generation.started = True
                self._metrics.observe("queue_wait_seconds", time.monotonic() - generation.arrived)
                generation.listener.stepped(0, None)
        self._regroup(active)
        active_samples = sum(generation.num_samples for generation in active)
        self._metrics.add("active_samples", active_samples - self._active_samples)
        self._metrics.add("waiting_requests", len(waiting) - len(self._waiting))
        self._active_samples, self._waiting = active_samples, waiting
        self._changed = False

    def _regroup(self, active: list[Generation]) -> None:
        """Put `active` into batches by latent size. A batch that stays the same is kept, and so are their turns."""
        by_shape: dict[tuple[int, ...], list[Generation]] = {}
        for batch in self._batches:
            by_shape[batch.latent_shape] = []
        for generation in active:
            by_shape.setdefault(generation.latent_shape, []).append(generation)
        kept = {frozenset(batch.generations): batch for batch in self._batches}
        groups = [generations for generations in by_shape.values() if generations]
        self._batches = deque(kept.get(frozenset(generations)) or Batch(generations) for generations in groups)

    def _tell_places(self) -> None:
        """Tell who waits to begin how many must go first: each hears its first place, every change near the head, and
        all hear theirs once a second, which shows to both ends that the other is still there."""
        now = time.monotonic()
        all_hear = now - self._places_told >= 1
        if all_hear:
            self._places_told = now
        for place, generation in enumerate(self._waiting, start=1):
            told = generation.told_place
            if not generation.started and (all_hear or told is None or (place <= NEAR and place != told)):
                generation.told_place = place
                generation.listener.queued(place)

    def _step(self, batch: Batch) -> None:
        """Advance `batch` by one step, and see off who is done."""
        start = time.monotonic()
        try:
            batch.advance(self._unet)
        except Exception as reason:  # whatever the engine raised fails the requests in the call, and only those
            for generation in batch.generations:
                generation.listener.failed(reason)
            self._leave(batch.generations)
            return
        self._clock += 1
        self._metrics.add("unet_seconds", time.monotonic() - start)
        self._metrics.add("unet_steps", 1)
        self._metrics.add("unet_samples", batch.num_samples)
        for generation in batch.generations:
            interval = generation.request.preview_interval
            previews = interval and generation.step % interval == 0 and not generation.done
            generation.listener.stepped(generation.step, generation.old_denoised.copy() if previews else None)
            if generation.done:
                generation.listener.finished(generation.latent.copy())
        self._leave([generation for generation in batch.generations if generation.done])
