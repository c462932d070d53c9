"""API keys: the callers that they let in and the priorities that they give, without a Triton server."""

import httpx2
import openai
import pytest
from request import PRIORITIES as OF_THE_SERVER
from triton_diffusion import AsyncClient, MockTransport
from triton_diffusion.gateway import Keys, new_key
from triton_diffusion.gateway._keys import PRIORITIES

PATH = "/v1/images/generations"


@pytest.fixture
def keys_file(tmp_path):
    return tmp_path / "keys"


def test_keys(mock_gateway, keys_file):
    key, line = new_key("alice")
    keys_file.write_text(f"# who may ask\n\n{line}")
    assert key not in line
    address = mock_gateway(keys=Keys(keys_file))
    for path in ("/v1/models", "/v1/models/mock"):
        assert httpx2.get(address + path, headers={"authorization": f"Bearer {key}"}).status_code == 200
    for header in ({}, {"authorization": key}, {"authorization": f"Basic {key}"}, {"authorization": f"Bearer {key}x"}):
        for answer in (
            httpx2.get(f"{address}/v1/models", headers=header),
            httpx2.get(f"{address}/v1/models/mock", headers=header),
            httpx2.post(address + PATH, json={}, headers=header),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{address}/v1", api_key="wrong").models.list()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert httpx2.get(address + path).status_code == 200


def test_the_file_of_keys_is_read_again(mock_gateway, keys_file):
    key, line = new_key("alice")
    other, other_line = new_key("alice")
    keys_file.write_text(line)
    address = mock_gateway(keys=Keys(keys_file))

    def statuses():
        headers = [{"authorization": f"Bearer {one}"} for one in (key, other)]
        return [httpx2.get(f"{address}/v1/models", headers=header).status_code for header in headers]

    assert statuses() == [200, 401]
    keys_file.write_text(other_line)
    assert statuses() == [401, 200]
    keys_file.write_text("something else")  # which locks nobody out
    assert statuses() == [401, 200]


def test_the_priority_is_the_keys_and_not_the_callers(mock_gateway, keys_file):
    sent = []

    class Watching(MockTransport):
        def stream(self, request, deadline):
            sent.append(request.fields.get("priority"))
            return super().stream(request, deadline)

    made = [new_key("alice"), new_key("bob", "low"), new_key("carol", "high")]
    keys_file.write_text("".join(line for _, line in made))
    address = mock_gateway(AsyncClient(transport=Watching()), keys=Keys(keys_file)) + PATH
    for key, _ in made:
        headers = {"authorization": f"Bearer {key}"}
        assert httpx2.post(address, json={"prompt": "a"}, headers=headers).status_code == 200
        refused = httpx2.post(address, json={"prompt": "a", "priority": "high"}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "priority")
    assert sent == [None, "low", "high"]


def test_keys_have_the_servers_priorities():
    assert {*PRIORITIES} == {*OF_THE_SERVER}
