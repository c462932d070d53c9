"""OpenTelemetry: a span for each generation, sent to a collector. Needs the extra `trace`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from .._settings import DEFAULT_STEPS
from ._order import Order
from ._record import Record


class Tracing:
    """Traces generations. Whether one is sampled is the caller's to say (`traceparent`); without a word of it, it is.

    What else there is to set, OpenTelemetry reads from its own environment variables (OTEL_TRACES_SAMPLER,
    OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, ...).
    """

    def __init__(self, url: str) -> None:
        """url: the collector's, for OTLP over HTTP: http://collector:4318/v1/traces"""
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "triton-diffusion-gateway"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url)))
        self._tracer = self._provider.get_tracer("triton_diffusion.gateway")

    @contextmanager
    def generation(self, headers: Mapping[str, str], record: Record, order: Order) -> Generator[None]:
        """One span, the current one inside; `headers` are the request's, and `record` knows in the end how it went."""
        attributes: dict[str, str | int] = {
            "diffusion.request_id": record.request_id,
            "diffusion.key": record.key or "",
            "diffusion.steps": DEFAULT_STEPS if order.steps is None else order.steps,
        }
        with self._tracer.start_as_current_span(
            "generation",
            extract(headers),
            SpanKind.SERVER,
            attributes,
            record_exception=False,  # its text may quote the request
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            finally:
                span.set_attribute("diffusion.outcome", str(record.outcome))
                span.set_attribute("diffusion.images", record.images)
                if record.code is not None:
                    span.set_attribute("error.type", record.code)
                if record.outcome == "failed":
                    span.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Send what is still to be sent; takes seconds where the collector does not answer."""
        self._provider.shutdown()
