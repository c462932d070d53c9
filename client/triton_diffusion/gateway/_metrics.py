"""Prometheus metrics of the gateway. Dashboards and alerts rely on the names, which therefore stay."""

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ._api_error import as_api_error
from ._connection import ClientGone
from ._record import Record

_PREFIX = "diffusion_gateway"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)  # as the server's
OUTCOMES = ("done", "cancelled", "failed", "refused", "expired", "invalid")  # as the server's


class Metrics:
    """The metrics of one application."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._running = Gauge(f"{_PREFIX}_in_flight", "Generations that run", registry=registry)
        self._ended = Counter(
            f"{_PREFIX}_generations",
            "Generations that ended, by the name of the caller's key and by outcome",
            ("key", "outcome"),
            registry=registry,
        )
        self._images = Counter(f"{_PREFIX}_images", "Images made, by key", ("key",), registry=registry)
        self._seconds = Histogram(
            f"{_PREFIX}_generation_seconds",
            "Seconds from the request to the end of the answer, by outcome",
            ("outcome",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            f"{_PREFIX}_errors", "Answers that were an error, by the error's code", ("code",), registry=registry
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def error(self, code: str) -> None:
        """Count an answer that was an error."""
        self._errors.labels(code).inc()

    @contextmanager
    def generation(self, record: Record, key: str) -> Generator[None]:
        """One generation of `key`, counted when the context ends; its outcome is written into `record`."""
        for outcome in OUTCOMES:  # so that the first of each is a rise, and not a series that was not there before
            self._ended.labels(key, outcome)
        self._running.inc()
        try:
            yield
        except ClientGone:
            raise
        except Exception as error:
            record.failed(as_api_error(error))
            raise
        finally:
            record.outcome = record.outcome or "cancelled"
            self._running.dec()
            self._ended.labels(key, record.outcome).inc()
            self._seconds.labels(record.outcome).observe(record.seconds)
            self._images.labels(key).inc(record.images)
