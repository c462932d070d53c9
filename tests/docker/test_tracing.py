"""The server's spans, on their way to a collector."""

import json
import secrets
import urllib.request

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.collector import collector
from tests.support.launching import gateway, launch, wait_until_ready

PROMPT = "a small red circle"
TRIES = 5  # Triton 2.51 does not understand every twelfth traceparent that comes over gRPC


@pytest.fixture(scope="module")
def spans():
    with collector() as spans:
        yield spans


@pytest.fixture(scope="module")
def traced_server(shipped_repository, spans):
    """One that traces what brings a trace along, and nothing else."""
    launcher = launch(shipped_repository, f"--trace-url={spans.url}", "--trace-rate=0")
    try:
        yield wait_until_ready(launcher)
    finally:
        launcher.terminate()
        launcher.wait(timeout=90)


def ask_over_http(server, headers: dict[str, str]) -> None:
    inputs = [
        {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [PROMPT]},
        {"name": "num_inference_steps", "datatype": "INT32", "shape": [1], "data": [1]},
    ]
    url = f"http://{server.http_url}/v2/models/text_to_image/infer"
    body = json.dumps({"inputs": inputs}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
        assert answer.status == 200


def ask_over_grpc(server, headers: dict[str, str]) -> None:
    message = service_pb2.ModelInferRequest(model_name="text_to_image")
    for name, datatype in (("prompt", "BYTES"), ("num_inference_steps", "INT32")):
        message.inputs.add(name=name, datatype=datatype, shape=[1])
    message.inputs[0].contents.bytes_contents.append(PROMPT.encode())
    message.inputs[1].contents.int_contents.append(1)
    with grpc.insecure_channel(server.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(message, metadata=tuple(headers.items()), timeout=60)


def test_the_callers_trace_goes_on_and_nothing_else_is_traced(traced_server, spans):
    parents = {}  # by trace
    for ask in (ask_over_http, ask_over_grpc):
        ask(traced_server, {})
        asked = [secrets.token_hex(16) for _ in range(TRIES)]
        for trace in asked:
            parents[trace] = secrets.token_hex(8)
            ask(traced_server, {"traceparent": f"00-{trace}-{parents[trace]}-01"})
        trace, found = spans.first(asked, count=3)
        assert {service for service, _ in found} == {"triton-diffusion-server"}
        assert {span.name for _, span in found} == {"InferRequest", "text_to_image", "compute"}
        assert [span.parent_span_id.hex() for _, span in found if span.name == "InferRequest"] == [parents[trace]]
    assert spans.traces() <= parents.keys()


def test_the_servers_spans_hang_below_the_gateways(traced_server, spans):
    traces = [secrets.token_hex(16) for _ in range(TRIES)]
    with gateway(f"--url={traced_server.grpc_url}", f"--trace-url={spans.url}") as (address, _):
        url = f"{address}/v1/images/generations"
        body = json.dumps({"prompt": PROMPT, "steps": 1}).encode()
        for trace in traces:
            headers = {"content-type": "application/json", "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
                assert answer.status == 200
        _, found = spans.first(traces, count=4)
    by_name = {span.name: (service, span) for service, span in found}
    (asking, generation), (answering, inference) = by_name["generation"], by_name["InferRequest"]
    assert (asking, answering) == ("triton-diffusion-gateway", "triton-diffusion-server")
    assert inference.parent_span_id == generation.span_id
    assert "diffusion" in by_name
