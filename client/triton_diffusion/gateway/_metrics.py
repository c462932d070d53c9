"""What the gateway counts, for Prometheus."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .._errors import DiffusionError, InvalidRequest
from ._failures import Refusal

_PREFIX = "diffusion_gateway"
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)


class Generation:
    """One generation as it goes; cancelled, unless it is said to have ended another way."""

    def __init__(self) -> None:
        self.outcome = "cancelled"
        self.images = 0

    def done(self, images: int) -> None:
        self.outcome, self.images = "done", images

    def failed(self) -> None:
        self.outcome = "failed"


class Metrics:
    """The metrics of one application."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._running = Gauge(f"{_PREFIX}_in_flight", "Generations that run", registry=self._registry)
        self._ended = Counter(
            f"{_PREFIX}_generations", "Generations that ended", ("key", "outcome"), registry=self._registry
        )
        self._images = Counter(f"{_PREFIX}_images", "Pictures made", ("key",), registry=self._registry)
        self._seconds = Histogram(
            f"{_PREFIX}_generation_seconds",
            "From the request to the end of the answer, of those that were done",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._errors = Counter(f"{_PREFIX}_errors", "Answers that were an error", ("code",), registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def refused(self, code: str) -> None:
        """Count an answer that was an error."""
        self._errors.labels(code).inc()

    @contextmanager
    def generation(self, key: str) -> Generator[Generation]:
        """Count what happens inside as one generation of `key`."""
        generation, start = Generation(), time.monotonic()
        self._running.inc()
        try:
            yield generation
        except (Refusal, InvalidRequest):
            generation.outcome = "refused"
            raise
        except DiffusionError:
            generation.failed()
            raise
        finally:
            self._running.dec()
            self._ended.labels(key, generation.outcome).inc()
            if generation.outcome == "done":
                self._images.labels(key).inc(generation.images)
                self._seconds.observe(time.monotonic() - start)
