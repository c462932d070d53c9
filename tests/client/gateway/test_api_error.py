"""Errors that the gateway answers with itself, over real HTTP and without a Triton server."""

import json

import httpx2
import openai
import pytest
from triton_diffusion import AsyncClient, DeadlineExceeded, GenerationFailed, MockTransport, ServerOverloaded

PATH = "/v1/images/generations"


@pytest.mark.parametrize(
    ("body", "code", "param", "message"),
    [
        ({"n": 1}, "missing_required_parameter", "prompt", "prompt is missing: say what the image shows"),
        ({"prompt": None}, "invalid_value", "prompt", "prompt is None: use a valid string"),
        ({"prompt": "a", "n": "2"}, "invalid_value", "n", "n is '2': use a valid integer"),
        ({"prompt": "a", "n": True}, "invalid_value", "n", "n is True: use a valid integer"),
        ({"prompt": "a", "size": "big"}, "invalid_value", "size", "size is 'big': use \"auto\", or WIDTHxHEIGHT"),
        ({"prompt": "a", "output_format": "gif"}, "invalid_value", "output_format", "use 'png', 'jpeg' or 'webp'"),
        ({"prompt": "a", "response_format": "url"}, "invalid_value", "response_format", "use 'b64_json'"),
        ({"prompt": "a", "background": "transparent"}, "invalid_value", "background", "use 'auto' or 'opaque'"),
        ({"prompt": "a", "stream": True, "partial_images": 4}, "invalid_value", "partial_images", "less than or equal"),
        ({"prompt": "a", "partial_images": 1}, "invalid_value", "partial_images", "use stream with it"),
        ({"prompt": "a", "stream": True, "n": 2}, "invalid_value", "n", "n is 2: use 1 with stream"),
        ({"prompt": "a", "step": 4}, "unknown_parameter", "step", "step is no parameter: use any of prompt, "),
        ({"prompt": "a", "seed": 2**63}, "invalid_value", "seed", "seed is 9223372036854775808"),
        ({"prompt": "a", "size": "99999x8", "steps": 2**31}, "invalid_value", "steps", "steps is 2147483648"),
        ([], "invalid_value", None, "the body is []: use an object"),
    ],
)
def test_a_wrong_body(mock_gateway, body, code, param, message):
    answer = httpx2.post(mock_gateway() + PATH, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert message in error["message"]
    assert "\n" not in error["message"]


def test_a_body_that_is_no_json(mock_gateway):
    address = mock_gateway() + PATH
    answer = httpx2.post(address, content=b'{"prompt": "a"', headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_json")
    answer = httpx2.post(address, content=b'{"prompt": "a"}', headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(mock_gateway, chunked):
    address = mock_gateway(max_body=1000) + PATH
    for size, status in ((900, 200), (1001, 413)):
        body = json.dumps({"prompt": "a"}).ljust(size).encode()
        content = iter([body[:500], body[500:]]) if chunked else body
        answer = httpx2.post(address, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == status
    assert answer.json()["error"]["message"] == "the body is too large: use at most 1000 bytes"


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (GenerationFailed("out of memory", request_id="12"), 500, "generation_failed"),
        (DeadlineExceeded("no result", request_id="12"), 504, "timeout"),
        (ServerOverloaded("too much", 6.2, request_id="12"), 503, "server_overloaded"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_server_could_not_do(mock_gateway, raised, status, code, stream):
    def fail(fields):
        raise raised

    address = mock_gateway(AsyncClient(transport=MockTransport(fail), retries=0))
    header = {"x-request-id": "order-7"}
    answer = httpx2.post(address + PATH, json={"prompt": "a", "stream": stream}, headers=header)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "order-7"
    if status == 503:
        assert answer.headers["retry-after"] == "7"
    else:
        assert answer.headers["x-should-retry"] == "false"


def test_an_error_in_the_middle_of_a_stream(mock_gateway):
    class Breaking(MockTransport):
        def stream(self, request, deadline):
            yield next(super().stream(request, deadline))
            raise GenerationFailed("out of memory")

    address = mock_gateway(AsyncClient(transport=Breaking()))
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="any")
    with pytest.raises(openai.APIError, match="out of memory") as failed:
        list(client.images.generate(prompt="a", stream=True))
    assert failed.value.code == "generation_failed"
    assert 'generations_total{key="anonymous",outcome="failed"} 1.0' in httpx2.get(f"{address}/metrics").text


def test_a_server_that_is_not_there(mock_gateway, unused_url):
    address = mock_gateway(AsyncClient(unused_url, retries=0))
    assert httpx2.get(f"{address}/healthz").status_code == 200
    assert httpx2.get(f"{address}/readyz").status_code == 503
    answer = httpx2.post(address + PATH, json={"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_paths_that_are_not_there(mock_gateway):
    address = mock_gateway()
    assert httpx2.get(f"{address}/v1/chat").json()["error"]["code"] == "not_found"
    assert httpx2.get(address + PATH).json()["error"]["code"] == "method_not_allowed"
