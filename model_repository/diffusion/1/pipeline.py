"""A request's way to its pictures: encode, loop, decode, respond. Knows no Triton, takes the engines as callables.

Encoding and decoding have a thread each, so that the loop never waits for them, and so have the responses.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from admission import Admission
from batch import Generation, UNet
from checkpoint import Checkpoint
from errors import DeadlineExceeded, Overloaded, RequestError, ShuttingDown
from request import Request
from scheduler import Metrics, Scheduler
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

    def ended(self, outcome: str, facts: dict[str, object]) -> None:
        """All is said; `facts` are for the log."""


class Pipeline:
    """Generates pictures for any number of requests at once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoder: PromptEncoder,
        unet: UNet,
        vae_decoder: Callable[[np.ndarray], np.ndarray],
        max_active_samples: int,
        max_queue: int,
        metrics: Metrics,
    ) -> None:
        """`vae_decoder`: latent float32 (B, C, h, w) to image uint8 (B, H, W, 3). `max_queue`: pictures that wait."""
        self.checkpoint = checkpoint
        self.encoder = encoder
        self.metrics = metrics
        self.admission = Admission(max_active_samples, max_queue)
        self.scheduler = Scheduler(unet, max_active_samples, metrics)
        self._vae_decoder = vae_decoder
        self.encoding = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self.decoding = ThreadPoolExecutor(1, thread_name_prefix="decoder")
        self.responding = ThreadPoolExecutor(1, thread_name_prefix="responder")
        metrics.add("max_active_samples", max_active_samples)

    def submit(self, request: Request, responder: Responder, timeout: float = math.inf) -> None:
        """Start on `request`; returns at once, `responder` hears the rest. `timeout`: seconds that somebody waits."""
        _Journey(self, request, responder, timeout).start()

    def refuse(self, reason: RequestError, responder: Responder) -> None:
        """Answer what is not even a request."""
        responder.error(reason)
        self.metrics.add(f"requests_{reason.outcome}", 1)
        responder.ended(reason.outcome, {"error": str(reason)})

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

    def __init__(self, pipeline: Pipeline, request: Request, responder: Responder, timeout: float) -> None:
        self._pipeline = pipeline
        self._request = request
        self._responder = responder
        self._timeout = timeout
        self._began = time.monotonic()
        self._in_loop: float | None = None  # since when, time.monotonic()
        self.deadline = self._began + timeout

    @property
    def cancelled(self) -> bool:
        return self._responder.cancelled

    def start(self) -> None:
        try:
            self._pipeline.admission.enter(self._request)
        except Overloaded as reason:
            self._pipeline.refuse(reason, self._responder)
            return
        self._pipeline.metrics.add("requests_in_flight", 1)
        try:
            self._pipeline.encoding.submit(self._encode)
        except RuntimeError:  # the executor is shut down
            self.failed(ShuttingDown())

    def _encode(self) -> None:
        request = self._request
        if time.monotonic() >= self.deadline:
            self.expired()
            return
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
        if step == 0:
            self._in_loop = time.monotonic()
        self._pipeline.responding.submit(self._report, step, denoised)

    def _report(self, step: int, denoised: np.ndarray | None) -> None:
        preview = None if denoised is None else self._pipeline.checkpoint.preview(denoised)
        self._responder.progress(step, len(self._request.table), self._request.seeds, preview)

    def finished(self, latent: np.ndarray) -> None:
        self._pipeline.admission.leave(self._request)
        self._pipeline.decoding.submit(self._decode, latent)

    def _decode(self, latent: np.ndarray) -> None:
        request = self._request
        try:
            if time.monotonic() >= self.deadline:
                raise DeadlineExceeded(self._timeout)
            image = self._pipeline.decode(latent)
        except Exception as reason:
            self._fail(reason)
        else:
            self._end("done", lambda: self._responder.image(image, len(request.table), request.seeds))

    def failed(self, reason: Exception) -> None:
        self._pipeline.admission.leave(self._request)
        self._fail(reason)

    def expired(self) -> None:
        self.failed(DeadlineExceeded(self._timeout))

    def dropped(self) -> None:
        self._pipeline.admission.leave(self._request)
        self._end("cancelled", self._responder.nothing)

    def _fail(self, reason: Exception) -> None:
        outcome = reason.outcome if isinstance(reason, RequestError) else "failed"
        self._end(outcome, lambda: self._responder.error(reason), error=str(reason))

    def _end(self, outcome: str, respond: Callable[[], None], **facts: object) -> None:
        def last_word() -> None:
            try:
                respond()
            finally:
                metrics = self._pipeline.metrics
                metrics.add(f"requests_{outcome}", 1)
                metrics.observe("generation_seconds", time.monotonic() - self._began)
                metrics.add("requests_in_flight", -1)
                self._responder.ended(outcome, {**self._facts(), **facts})

        self._pipeline.responding.submit(last_word)

    def _facts(self) -> dict[str, object]:
        request, now = self._request, time.monotonic()
        waited = (now if self._in_loop is None else self._in_loop) - self._began
        return {
            "seconds": round(now - self._began, 3),
            "queue_seconds": round(waited, 3),
            "steps": len(request.table),
            "images": request.num_images,
            "size": f"{request.width}x{request.height}",
            "seed": request.seed,
            "priority": request.priority.name.lower(),
        }
