"""Trace of the caller, for programs that use OpenTelemetry: the server's spans join it."""

import sys


def trace_context() -> dict[str, str]:
    """The headers that name the current span (`traceparent` and what goes with it); none where there is no span."""
    if "opentelemetry.trace" not in sys.modules:  # then nobody has made a span
        return {}
    from opentelemetry import propagate

    headers: dict[str, str] = {}
    propagate.inject(headers)
    return {name.lower(): value for name, value in headers.items()}  # as gRPC wants them
