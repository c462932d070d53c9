"""OpenTelemetry tracing: a span for each generation, sent to a collector. Needs the extra `trace`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from ._record import Record


class Tracing:
    """The exporter of the gateway's spans. A generation is traced unless its caller's `traceparent` says no.

    OpenTelemetry reads all other settings from its own environment variables (OTEL_TRACES_SAMPLER,
    OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, ...).
    """

    def __init__(self, url: str) -> None:
        """url: the collector's address for OTLP over HTTP: http://collector:4318/v1/traces"""
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "triton-diffusion-gateway"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url)))
        self._tracer = self._provider.get_tracer("triton_diffusion.gateway")

    @contextmanager
    def generation(self, headers: Mapping[str, str], record: Record) -> Generator[None]:
        """One span, the current one inside the context. headers: the request's; record: read when the span ends."""
        with self._tracer.start_as_current_span(
            "generation",
            extract(headers),
            SpanKind.SERVER,
            {"diffusion.request_id": record.request_id, "diffusion.key": record.key or ""},
            record_exception=False,  # its text may quote the request
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            finally:
                span.set_attribute("diffusion.outcome", str(record.outcome))
                span.set_attribute("diffusion.images", record.images)
                if record.steps is not None:
                    span.set_attribute("diffusion.steps", record.steps)
                if record.code is not None:
                    span.set_attribute("error.type", record.code)
                if record.outcome == "failed":
                    span.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Send the spans that are left; takes seconds if the collector does not answer."""
        self._provider.shutdown()
