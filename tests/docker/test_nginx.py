"""nginx before Triton: what it lets through, what it refuses, and in what words."""

import http.client
import json
import socket
import subprocess
import sys
import time
from contextlib import suppress

import grpc
import numpy as np
import pytest
from triton_diffusion import Client, InvalidRequest, ServerUnavailable
from tritonclient.grpc import service_pb2, service_pb2_grpc

from export.specification import HAND_WRITTEN_MODELS
from tests.support.launching import Server, free_ports
from tests.support.malformed import GENERATE, INFER, MALFORMED, infer, tensor
from tests.support.proxy import CONFIGURE, running_nginx
from tests.support.sockets import keepalive

PROMPT = "a small red circle"
SETTINGS = {"num_inference_steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def proxy(server, tmp_path_factory):
    """Before the server that runs and one that is gone."""
    gone = Server(*(f"127.0.0.1:{port}" for port in free_ports(3)))
    with running_nginx(tmp_path_factory.mktemp("nginx"), [gone, server], "--plain", "--max-body=64k") as proxy:
        yield proxy


def ask(proxy, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and body of an answer over HTTP."""
    connection = http.client.HTTPConnection(proxy.http_url, timeout=60)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_images_come_from_the_server_that_is_there(server, proxy, protocol):
    with Client(server.grpc_url) as direct, Client(getattr(proxy, f"{protocol}_url"), protocol, retries=0) as client:
        (expected,) = direct.text_to_image(PROMPT, **SETTINGS)
        for _ in range(4):
            (image,) = client.text_to_image(PROMPT, **SETTINGS)
            assert np.array_equal(np.asarray(image), np.asarray(expected))
        assert client.is_ready()
        assert client.checkpoint() == direct.checkpoint()
        assert client.models() == direct.models()


def test_a_stream_is_passed_on_as_it_comes(proxy):
    with Client(proxy.grpc_url) as client:
        events = [type(event).__name__ for event in client.stream(PROMPT, preview_interval=1, **SETTINGS)]
    assert {"Progress", "Preview", "Completed"} <= set(events)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/denoiser/unload"),
        ("GET", "/v2/models/denoiser/stats"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("GET", "/v2/trace/setting"),
        ("GET", "/v2/logging"),
        ("POST", "/v2/models/denoiser/infer"),
        ("GET", "/v2/models/text_to_image/infer"),
        ("GET", "/v2/models/text_to_image/../../repository/index"),
        ("GET", "/v2/models/denoiser/ready%0a"),
    ],
)
def test_nothing_else_is_passed_on(proxy, method, path):
    status, body = ask(proxy, method, path, b"{}" if method == "POST" else None)
    assert status == 404
    assert "not served here" in json.loads(body)["error"]


def test_no_other_call_of_grpc_is_passed_on(proxy):
    stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(proxy.grpc_url))
    with pytest.raises(grpc.RpcError) as refused:
        stub.RepositoryIndex(service_pb2.RepositoryIndexRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "not served here"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_too_large_a_request_is_refused_with_the_limit(proxy, protocol):
    with (
        Client(getattr(proxy, f"{protocol}_url"), protocol) as client,
        pytest.raises(InvalidRequest, match="larger than 64k"),
    ):
        client.text_to_image("a" * 70_000)


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_what_ends_or_misleads_triton_is_refused_with_the_reason(server, proxy, request_):
    started = time.monotonic()
    try:
        status, said = ask(proxy, "POST", request_.path, request_.body, **request_.headers)
    except ConnectionError:  # nginx has answered and closed while the body still came
        assert request_.status == 413
        return
    assert time.monotonic() - started < 1
    assert status == request_.status
    assert request_.says in said
    assert set(json.loads(said)) == {"error"}


def test_after_all_of_them_the_server_gives_the_same_bytes(server, proxy):
    with Client(proxy.http_url, "http") as client:
        (before,) = client.text_to_image(PROMPT, **SETTINGS)
        for request in MALFORMED.values():
            with suppress(ConnectionError):
                ask(proxy, "POST", request.path, request.body, **request.headers)
        (after,) = client.text_to_image(PROMPT, **SETTINGS)
    assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize(
    "body",
    [
        infer(tensor([60_000], [1] * 60_000)),
        json.dumps({"id": "\n" * 28_000}).encode(),
        b'"' + b"\\" * 64_000,
        b"{" + b",".join(b'"a%d":1' % number for number in range(6000)) + b"}",
    ],
    ids=["values", "escapes", "backslashes", "names"],
)
def test_the_largest_bodies_are_judged_within_a_second(proxy, body):
    started = time.monotonic()
    status, _ = ask(proxy, "POST", INFER, body)
    assert time.monotonic() - started < 1
    assert status in (400, 413)


@pytest.mark.parametrize("number", [0, 7, 2**53 + 1, 2**62 + 1])
def test_numbers_of_64_bits_reach_the_server_as_they_are(proxy, number):
    wanted = json.dumps({"prompt": "a", "num_inference_steps": 1, "seed": number}).encode()
    status, said = ask(proxy, "POST", GENERATE, wanted)
    assert (status, json.loads(said).get("seed")) == (200, number)


@pytest.mark.parametrize("model", HAND_WRITTEN_MODELS, ids=lambda model: model.name)
def test_generate_takes_the_inputs_of_the_model_and_of_their_types(proxy, model):
    for each in model.inputs:
        wrong = json.dumps({each.name: 1 if each.dtype == "STRING" else "1"}).encode()
        status, said = ask(proxy, "POST", f"/v2/models/{model.name}/generate", wrong)
        assert status == 400
        assert f"{each.dtype.replace('STRING', 'BYTES')} takes" in json.loads(said)["error"]


def test_generate_says_which_version_of_a_model_is_not_there(proxy):
    path = GENERATE.replace("/generate", "/versions/9/generate")
    status, said = ask(proxy, "POST", path, b'{"prompt": "a"}')
    assert status == 404
    assert "version 9" in json.loads(said)["error"]


def test_compressed_messages_of_grpc_are_refused(proxy):
    channel = grpc.insecure_channel(proxy.grpc_url, compression=grpc.Compression.Gzip)
    with pytest.raises(grpc.RpcError) as refused:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(service_pb2.ServerLiveRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refused.value.details() == "compressed messages are not taken here: send them as they are"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_servers_that_are_all_gone_are_told(tmp_path, protocol):
    gone = Server(*(f"127.0.0.1:{port}" for port in free_ports(3)))
    with running_nginx(tmp_path, [gone], "--plain") as proxy:
        url = getattr(proxy, f"{protocol}_url")
        with Client(url, protocol, retries=0) as client, pytest.raises(ServerUnavailable, match="no server answers"):
            client.text_to_image(PROMPT)
        assert ask(proxy, "POST", GENERATE, b'{"prompt": "a"}') == (503, '{"error": "no server answers"}')


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "use --tls-cert and --tls-key, or --plain"),
        (["--tls-cert", __file__], "--tls-cert and --tls-key go together"),
        (["--plain", "--tls-cert", __file__], "or --plain"),
        (["--tls-cert", "none.pem"], "none.pem is no file"),
        (["--plain", "--server", "a;b"], "'a;b' is no server: use HOST, or HOST:HTTP-PORT:GRPC-PORT"),
        (["--plain", "--http-listen", "8443"], "'8443' is no address to listen on: use HOST:PORT"),
        (["--plain", "--max-body", "1 MB"], "'1 MB' is no size"),
    ],
)
def test_wrong_options_are_told(options, said):
    done = subprocess.run([sys.executable, str(CONFIGURE), *options], capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_client_that_has_vanished_would_be_noticed(proxy, protocol):
    host, port = getattr(proxy, f"{protocol}_url").split(":")
    with socket.create_connection((host, int(port))) as client:
        assert 15 < keepalive(client.getpeername(), client.getsockname()) <= 20
