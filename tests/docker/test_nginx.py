"""nginx before Triton: what it lets through, what it refuses, and in what words."""

import http.client
import json
import subprocess
import sys

import grpc
import numpy as np
import pytest
from triton_diffusion import Client, InvalidRequest, ServerUnavailable
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.launching import Server, free_ports
from tests.support.proxy import CONFIGURE, running_nginx

PROMPT = "a small red circle"
SETTINGS = {"num_inference_steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def proxy(server, tmp_path_factory):
    """Before the server that runs and one that is gone."""
    gone = Server(*(f"127.0.0.1:{port}" for port in free_ports(3)))
    with running_nginx(tmp_path_factory.mktemp("nginx"), [gone, server], "--plain", "--max-body=64k") as proxy:
        yield proxy


def ask(proxy, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and body of an answer over HTTP."""
    connection = http.client.HTTPConnection(proxy.http_url, timeout=60)
    connection.request(method, path, body)
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


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_servers_that_are_all_gone_are_told(tmp_path, protocol):
    gone = Server(*(f"127.0.0.1:{port}" for port in free_ports(3)))
    with running_nginx(tmp_path, [gone], "--plain") as proxy:
        url = getattr(proxy, f"{protocol}_url")
        with Client(url, protocol, retries=0) as client, pytest.raises(ServerUnavailable, match="no server answers"):
            client.text_to_image(PROMPT)


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
