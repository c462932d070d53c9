"""A program that uses OpenTelemetry: its trace goes on to the server."""

from opentelemetry.sdk.trace import TracerProvider
from triton_diffusion._deadline import Deadline
from triton_diffusion._request import new_request
from triton_diffusion._trace import trace_context
from triton_diffusion._transports import grpc_wire, http_wire


def test_a_request_belongs_to_the_span_in_which_it_was_made():
    with TracerProvider().get_tracer("test").start_as_current_span("shop") as span:
        request = new_request("diffusion", {"prompt": "a"})
    deadline = Deadline(None)
    context = span.get_span_context()
    expected = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert request.trace == {"traceparent": expected}
    for method in (grpc_wire.infer(request, deadline, None), grpc_wire.stream(request, deadline)):
        assert method.call(1.0)["metadata"] == (("traceparent", expected),)
    assert http_wire.infer(request, deadline).headers["traceparent"] == expected


def test_without_a_span_there_is_no_trace():
    assert trace_context() == {}
    assert grpc_wire.stream(new_request("diffusion", {"prompt": "a"}), Deadline(None)).call(None)["metadata"] == ()
