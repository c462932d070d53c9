"""The in-flight loop: one UNet call a step for all active generations. Knows no Triton, takes a `unet` callable."""

import threading
import time
from collections import deque
from typing import Protocol

from batch import Batch, Generation, UNet


class Metrics(Protocol):
    """Where the loop counts what it does; gauges are counted up and down."""

    def add(self, name: str, amount: float) -> None: ...


class ShuttingDown(Exception):
    """The server is going away: the same request works on another replica, or later."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down: send the request again, to another replica or later")


class Scheduler:
    """Admits generations in the order they came, advances the active ones together, and lets them go when done.

    Generations of different latent sizes cannot share a call: each size has its batch, and the batches take turns.
    """

    def __init__(self, unet: UNet, max_active_samples: int, metrics: Metrics) -> None:
        """`max_active_samples` bounds the samples of all batches together; the rest wait."""
        self._unet = unet
        self._max_active_samples = max_active_samples
        self._metrics = metrics
        self._waiting: deque[tuple[Generation, float]] = deque()
        self._batches: deque[Batch] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Queue `generation`; its listener hears the rest."""
        with self._wake:
            if not self._closing:
                self._waiting.append((generation, time.monotonic()))
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
            self._admit()
            if self._batches:
                batch = self._batches.popleft()
                self._batches.extend(self._step(batch))
        for generation in [g for batch in self._batches for g in batch.generations] + [g for g, _ in self._waiting]:
            generation.listener.failed(ShuttingDown())

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do; False when it is time to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._waiting or self._batches)
            return not self._closing

    def _admit(self) -> None:
        """Take in waiting generations, in order, as long as there is room."""
        active = sum(batch.num_samples for batch in self._batches)
        joining: list[Generation] = []
        with self._wake:
            while self._waiting:
                generation, since = self._waiting[0]
                if active + len(generation.latent) > self._max_active_samples and not generation.listener.cancelled:
                    break
                self._waiting.popleft()
                self._metrics.add("waiting_requests", -1)
                if generation.listener.cancelled:
                    generation.listener.dropped()
                    continue
                self._metrics.add("queue_wait_seconds", time.monotonic() - since)
                generation.listener.stepped(0, None)
                active += len(generation.latent)
                joining.append(generation)
            self._tell_positions()
        self._join(joining)

    def _tell_positions(self) -> None:
        """Tell who waits how many must go first. Telling all of a long queue every place would cost too much: each
        hears its first, every halving, and the last eight."""
        for position, (generation, _) in enumerate(self._waiting, start=1):
            told = generation.told_position
            if told is None or (position < told and (position <= 8 or position <= told // 2)):
                generation.told_position = position
                generation.listener.queued(position)

    def _join(self, joining: list[Generation]) -> None:
        """Put `joining` into the batches of their latent sizes."""
        for shape in {generation.latent_shape for generation in joining}:
            generations = [generation for generation in joining if generation.latent_shape == shape]
            self._metrics.add("active_samples", sum(len(generation.latent) for generation in generations))
            for position, batch in enumerate(self._batches):
                if batch.generations[0].latent_shape == shape:
                    self._batches[position] = Batch(batch.generations + generations)
                    break
            else:
                self._batches.append(Batch(generations))

    def _step(self, batch: Batch) -> list[Batch]:
        """Advance `batch`; what is left of it: [] or one batch."""
        cancelled = [generation for generation in batch.generations if generation.listener.cancelled]
        for generation in cancelled:
            generation.listener.dropped()
        remaining = self._rest(batch, [g for g in batch.generations if g not in cancelled])
        if not remaining:
            return []
        (batch,) = remaining
        try:
            batch.advance(self._unet)
        except Exception as reason:  # whatever the engine raised fails the requests in the call, and only those
            for generation in batch.generations:
                generation.listener.failed(reason)
            self._metrics.add("active_samples", -batch.num_samples)
            return []
        self._metrics.add("unet_steps", 1)
        self._metrics.add("unet_samples", batch.num_samples)
        for generation in batch.generations:
            interval = generation.request.preview_interval
            previews = interval and generation.step % interval == 0 and not generation.done
            generation.listener.stepped(generation.step, generation.old_denoised.copy() if previews else None)
            if generation.done:
                generation.listener.finished(generation.latent.copy())
        return self._rest(batch, [generation for generation in batch.generations if not generation.done])

    def _rest(self, batch: Batch, staying: list[Generation]) -> list[Batch]:
        """`batch` with `staying` only."""
        if len(staying) == len(batch.generations):
            return [batch]
        leaving = batch.num_samples - sum(len(generation.latent) for generation in staying)
        self._metrics.add("active_samples", -leaving)
        return [Batch(staying)] if staying else []
