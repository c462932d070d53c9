"""The server's spans, on their way to a collector."""

import json
import secrets
import urllib.request

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.collector import collector
from tests.launching import launch, wait_until_ready

PROMPT = "a small red circle"


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
        trace = secrets.token_hex(16)
        parents[trace] = secrets.token_hex(8)
        ask(traced_server, {"traceparent": f"00-{trace}-{parents[trace]}-01"})
    for trace, parent in parents.items():
        found = spans.spans(trace, count=3)
        assert {service for service, _ in found} == {"triton-diffusion-server"}
        assert {span.name for _, span in found} == {"InferRequest", "text_to_image", "compute"}
        assert [span.parent_span_id.hex() for _, span in found if span.name == "InferRequest"] == [parent]
    assert {span.trace_id.hex() for _, span in spans._arrived} == parents.keys()
