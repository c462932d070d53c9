"""Spans of the gateway, sent to a real receiver of OTLP over HTTP."""

import subprocess

import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from triton_diffusion import AsyncClient, GenerationFailed, InvalidRequest, MockTransport
from triton_diffusion.gateway import create_app

from tests.support.collector import attributes, collector
from tests.support.launching import COMMAND, ENVIRONMENT

PATH = "/v1/images/generations"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "order-7"}


@pytest.fixture(scope="module")
def receiver():
    with collector() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds, in place of 5 s
        yield receiver


@pytest.mark.parametrize("stream", [False, True])
def test_a_generation_is_a_span_of_the_callers_trace_known_to_the_server(mock_gateway, receiver, stream):
    traces = []

    class Watching(MockTransport):
        def stream(self, request, deadline):
            traces.append(request.trace)
            return super().stream(request, deadline)

    trace = f"{TRACE[:-1]}{int(stream)}"
    headers = HEADERS | {"traceparent": f"00-{trace}-{PARENT}-01"}
    address = mock_gateway(AsyncClient(transport=Watching()), trace_url=receiver.url)
    httpx2.post(address + PATH, json={"prompt": "a secret", "stream": stream, "steps": 3}, headers=headers)
    ((service, span),) = receiver.spans(trace, 1)
    assert (service, span.name, span.kind) == ("triton-diffusion-gateway", "generation", Span.SPAN_KIND_SERVER)
    assert span.parent_span_id.hex() == PARENT
    assert attributes(span) == {
        "diffusion.request_id": "order-7",
        "diffusion.key": "anonymous",
        "diffusion.steps": 3,
        "diffusion.outcome": "done",
        "diffusion.images": 1,
    }
    assert span.end_time_unix_nano > span.start_time_unix_nano
    ((trace_of_parent, parent),) = [given["traceparent"].split("-")[1:3] for given in traces]
    assert (trace_of_parent, parent) == (trace, span.span_id.hex())


@pytest.mark.parametrize(
    ("error", "outcome", "code", "status"),
    [
        (GenerationFailed("a secret"), "failed", "generation_failed", Status.STATUS_CODE_ERROR),
        (InvalidRequest("prompt is 'a secret'", "prompt"), "invalid", "invalid_value", Status.STATUS_CODE_UNSET),
    ],
)
def test_a_span_tells_of_failure_and_not_of_the_prompt(mock_gateway, receiver, error, outcome, code, status):
    def fail(fields):
        raise error

    trace = f"{TRACE[:-1]}{'a' if outcome == 'failed' else 'b'}"
    address = mock_gateway(AsyncClient(transport=MockTransport(fail), retries=0), trace_url=receiver.url)
    httpx2.post(address + PATH, json={"prompt": "a"}, headers={"traceparent": f"00-{trace}-{PARENT}-01"})
    ((_, span),) = receiver.spans(trace, 1)
    told = attributes(span)
    assert (told["diffusion.outcome"], told["error.type"], span.status.code) == (outcome, code, status)
    assert "secret" not in str(span)


def test_a_caller_may_ask_not_to_be_traced(mock_gateway, receiver):
    address = mock_gateway(trace_url=receiver.url)
    for last, flags in (("c", "00"), ("d", "01")):
        headers = {"traceparent": f"00-{TRACE[:-1]}{last}-{PARENT}-{flags}"}
        httpx2.post(address + PATH, json={"prompt": "a"}, headers=headers)
    assert len(receiver.spans(f"{TRACE[:-1]}d", 1)) == 1
    assert receiver.spans(f"{TRACE[:-1]}c", 1, timeout=0) == []


def test_without_an_address_nothing_is_traced_nor_loaded():
    program = (
        "import sys; from triton_diffusion import *; from triton_diffusion.gateway import create_app;"
        "create_app(AsyncClient(transport=MockTransport()));"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    python, *_ = COMMAND
    assert subprocess.check_output([python, "-c", program], env=ENVIRONMENT, text=True) == "[]\n"


def test_an_address_that_is_none():
    with pytest.raises(InvalidRequest, match=r"trace_url is 'collector:4318': use http://HOST:4318/v1/traces"):
        create_app(AsyncClient(transport=MockTransport()), trace_url="collector:4318")
