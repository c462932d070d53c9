"""A request's way to its pictures: encode, loop, decode, respond. Knows no Triton, takes the engines as callables.

Encoding and decoding have a thread each, so that the loop never waits for them, and so have the responses.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from batch import Generation, UNet
from checkpoint import Checkpoint
from request import Request
from scheduler import Metrics, Scheduler, ShuttingDown
from text import PromptEncoder


class Responder(Protocol):
    """Where the answers to one request go; exactly one of `image`, `error` and `nothing` is the last."""

    @property
    def cancelled(self) -> bool:
        """Whether the request was cancelled; kept up to date by `queued` and `progress`, and free to read."""

    def queued(self, position: int, num_steps: int, seeds: np.ndarray) -> None:
        """The request waits for room; `position` 1 is next."""

    def progress(self, step: int, num_steps: int, seeds: np.ndarray, preview: np.ndarray | None) -> None:
        """`step` of `num_steps` are done; `preview` uint8 (N, h, w, 3) where one is due."""

    def image(self, image: np.ndarray, num_steps: int, seeds: np.ndarray) -> None:
        """The pictures: uint8 (N, H, W, 3)."""

    def error(self, reason: Exception) -> None: ...

    def nothing(self) -> None:
        """The request was cancelled."""


class Pipeline:
    """Generates pictures for any number of requests at once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoder: PromptEncoder,
        unet: UNet,
        vae_decoder: Callable[[np.ndarray], np.ndarray],
        max_active_samples: int,
        metrics: Metrics,
    ) -> None:
        """`vae_decoder`: latent float32 (B, C, h, w) to image uint8 (B, H, W, 3)."""
        self.checkpoint = checkpoint
        self.encoder = encoder
        self.metrics = metrics
        self.scheduler = Scheduler(unet, max_active_samples, metrics)
        self._vae_decoder = vae_decoder
        self.encoding = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self.decoding = ThreadPoolExecutor(1, thread_name_prefix="decoder")
        self.responding = ThreadPoolExecutor(1, thread_name_prefix="responder")

    def submit(self, request: Request, responder: Responder) -> None:
        """Start on `request`; returns at once, `responder` hears the rest."""
        _Journey(self, request, responder).start()

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) of `latent`, float32 (N, C, h, w)."""
        rows = self.checkpoint.max_batch["vae_decoder"]
        return np.concatenate([self._vae_decoder(latent[i : i + rows]) for i in range(0, len(latent), rows)])

    def close(self) -> None:
        """End after the calls in progress; every unfinished request hears ShuttingDown."""
        self.encoding.shutdown()
        self.scheduler.close()
        self.decoding.shutdown()
        self.responding.shutdown()


class _Journey:
    """One request from its start to its last response; the `Listener` of its own generation."""

    def __init__(self, pipeline: Pipeline, request: Request, responder: Responder) -> None:
        self._pipeline = pipeline
        self._request = request
        self._responder = responder
        self._started = time.monotonic()

    @property
    def cancelled(self) -> bool:
        return self._responder.cancelled

    def start(self) -> None:
        self._pipeline.metrics.add("requests_in_flight", 1)
        try:
            self._pipeline.encoding.submit(self._encode)
        except RuntimeError:  # the executor is shut down
            self.failed(ShuttingDown())

    def _encode(self) -> None:
        request = self._request
        try:
            context = self._pipeline.encoder.context(request)
            shape = self._pipeline.checkpoint.latent_shape(request.height, request.width)
            self._pipeline.scheduler.submit(Generation(request, shape, context, self))
        except Exception as reason:
            self.failed(reason)

    def queued(self, position: int) -> None:
        table, seeds = self._request.table, self._request.seeds
        self._pipeline.responding.submit(self._responder.queued, position, len(table), seeds)

    def stepped(self, step: int, denoised: np.ndarray | None) -> None:
        self._pipeline.responding.submit(self._report, step, denoised)

    def _report(self, step: int, denoised: np.ndarray | None) -> None:
        preview = None if denoised is None else self._pipeline.checkpoint.preview(denoised)
        self._responder.progress(step, len(self._request.table), self._request.seeds, preview)

    def finished(self, latent: np.ndarray) -> None:
        self._pipeline.decoding.submit(self._decode, latent)

    def _decode(self, latent: np.ndarray) -> None:
        try:
            image = self._pipeline.decode(latent)
        except Exception as reason:
            self.failed(reason)
        else:
            self._end(
                "requests_done", lambda: self._responder.image(image, len(self._request.table), self._request.seeds)
            )

    def failed(self, reason: Exception) -> None:
        self._end("requests_failed", lambda: self._responder.error(reason))

    def dropped(self) -> None:
        self._end("requests_cancelled", self._responder.nothing)

    def _end(self, outcome: str, respond: Callable[[], None]) -> None:
        def last_word() -> None:
            try:
                respond()
            finally:
                metrics = self._pipeline.metrics
                metrics.add(outcome, 1)
                metrics.add("generation_seconds", time.monotonic() - self._started)
                metrics.add("requests_in_flight", -1)

        self._pipeline.responding.submit(last_word)
