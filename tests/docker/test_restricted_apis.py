"""APIs that a server without further options refuses over both protocols, and that its key opens."""

import http.client
import json

import grpc
import pytest
from triton_diffusion import Client
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc

from tests.support.launching import ADMIN_KEY

HTTP_KEY, GRPC_KEY = "admin-key", "triton-grpc-protocol-admin-key"

READING = {
    "the repository's index": ("POST", "/v2/repository/index", "RepositoryIndex", messages.RepositoryIndexRequest()),
    "statistics": (
        "GET",
        "/v2/models/text_to_image/stats",
        "ModelStatistics",
        messages.ModelStatisticsRequest(name="text_to_image"),
    ),
    "trace settings": ("GET", "/v2/trace/setting", "TraceSetting", messages.TraceSettingRequest()),
    "log settings": ("GET", "/v2/logging", "LogSettings", messages.LogSettingsRequest()),
    "shared memory": (
        *("GET", "/v2/systemsharedmemory/status"),
        *("SystemSharedMemoryStatus", messages.SystemSharedMemoryStatusRequest()),
    ),
}
CHANGING = {
    "loading a model": (
        *("POST", "/v2/repository/models/text_to_image/load"),
        *("RepositoryModelLoad", messages.RepositoryModelLoadRequest(model_name="text_to_image")),
    ),
    "unloading a model": (
        *("POST", "/v2/repository/models/text_to_image/unload"),
        *("RepositoryModelUnload", messages.RepositoryModelUnloadRequest(model_name="text_to_image")),
    ),
}
REGISTERING = {
    "registering shared memory": (
        *("POST", "/v2/systemsharedmemory/region/a/register"),
        *("SystemSharedMemoryRegister", messages.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=4)),
    ),
    "registering a GPU's memory": (
        *("POST", "/v2/cudasharedmemory/region/a/register"),
        *("CudaSharedMemoryRegister", messages.CudaSharedMemoryRegisterRequest(name="a", byte_size=4)),
    ),
}
RESTRICTED = READING | CHANGING | REGISTERING
KEYS = {"no key": None, "another key": "0" * 64, "half the key": ADMIN_KEY[:32]}


def over_http(server, what: str, key: str | None) -> tuple[int, str]:
    """Status and body."""
    method, path, *_ = RESTRICTED[what]
    headers = {} if key is None else {HTTP_KEY: key}
    return asked(server, method, path, headers)


def asked(server, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.http_url, timeout=60)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def over_grpc(server, what: str, key: str | None) -> None:
    """Raises grpc.RpcError where the server refuses."""
    *_, method, message = RESTRICTED[what]
    with grpc.insecure_channel(server.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        getattr(stub, method)(message, metadata=() if key is None else ((GRPC_KEY, key),), timeout=60)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("what", RESTRICTED)
def test_closed_without_the_key(server, what, key):
    status, body = over_http(server, what, KEYS[key])
    assert status == 403
    assert "restricted" in json.loads(body)["error"]
    with pytest.raises(grpc.RpcError, match="restricted"):
        over_grpc(server, what, KEYS[key])


@pytest.mark.parametrize("what", READING)
def test_open_with_the_key(server, what):
    status, body = over_http(server, what, ADMIN_KEY)
    assert status == 200
    json.loads(body)
    over_grpc(server, what, ADMIN_KEY)


@pytest.mark.parametrize("what", CHANGING)
def test_models_stay_as_they_are_even_for_the_key(server, what):
    status, _ = over_http(server, what, ADMIN_KEY)
    assert status != 200
    with pytest.raises(grpc.RpcError, match="not allowed"):
        over_grpc(server, what, ADMIN_KEY)
    with Client(server.grpc_url) as client:
        assert all(model.ready for model in client.models())


@pytest.mark.parametrize(("method", "path"), [("GET", "/ping"), ("POST", "/invocations"), ("GET", "/models")])
def test_no_end_points_of_sagemaker(server, method, path):
    status, _ = asked(server, method, path, {HTTP_KEY: ADMIN_KEY})
    assert status == 404
