"""The gateway's log and the ids in it, over real HTTP and without a Triton server."""

import json
import logging
import time

import httpx2
import pytest
from triton_diffusion import (
    AsyncClient,
    DeadlineExceeded,
    GenerationFailed,
    InvalidRequest,
    MockTransport,
    ServerOverloaded,
)
from triton_diffusion.gateway import Keys, new_key
from triton_diffusion.gateway._log import JsonLines

PATH = "/v1/images/generations"


@pytest.fixture
def lines(caplog):
    """The lines that the gateway has logged, as it would write them, once there are `count`: they follow the answer."""
    caplog.set_level(logging.INFO, "triton_diffusion")

    def parsed(count: int) -> list[dict]:
        deadline = time.monotonic() + 10
        while True:
            records = [record for record in caplog.records if record.name.startswith("triton_diffusion")]
            if len(records) >= count or time.monotonic() > deadline:
                return [json.loads(JsonLines().format(record)) for record in records]
            time.sleep(0.01)

    return parsed


def failing(error: Exception) -> AsyncClient:
    def fail(fields):
        raise error

    return AsyncClient(transport=MockTransport(fail), retries=0)


def test_a_line_says_who_asked_and_what_came_of_it(mock_gateway, tmp_path, lines):
    key, line = new_key("alice")
    (tmp_path / "keys").write_text(line)
    address = mock_gateway(keys=Keys(tmp_path / "keys"))
    headers = {"authorization": f"Bearer {key}", "x-request-id": "order-7"}
    answer = httpx2.post(address + PATH, json={"prompt": "a secret", "n": 2}, headers=headers)
    assert answer.headers["x-request-id"] == "order-7"
    (written,) = lines(1)
    assert written.pop("seconds") >= 0
    assert len(written.pop("time")) == len("2026-01-01T00:00:00Z")
    assert written == {
        "level": "info",
        "event": "request",
        "request_id": "order-7",
        "method": "POST",
        "path": PATH,
        "key": "alice",
        "status": 200,
        "outcome": "done",
        "images": 2,
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "outcome", "code"),
    [
        (InvalidRequest("sampler is 'a secret'", "sampler"), 400, "invalid", "invalid_value"),
        (ServerOverloaded("the queue is full", 3), 503, "refused", "server_overloaded"),
        (DeadlineExceeded("no result"), 504, "expired", "timeout"),
        (GenerationFailed("out of memory"), 500, "failed", "generation_failed"),
    ],
)
def test_log_and_metrics_name_the_outcome_alike(mock_gateway, lines, error, status, outcome, code, stream):
    address = mock_gateway(failing(error))
    assert httpx2.post(address + PATH, json={"prompt": "a", "stream": stream}).status_code == status
    (written,) = lines(1)
    assert (written["status"], written["outcome"], written["code"]) == (status, outcome, code)
    assert written["level"] == "warning"
    metrics = httpx2.get(f"{address}/metrics").text
    assert f'diffusion_gateway_generations_total{{key="anonymous",outcome="{outcome}"}} 1.0' in metrics
    assert f'diffusion_gateway_generation_seconds_count{{outcome="{outcome}"}} 1.0' in metrics
    assert f'diffusion_gateway_errors_total{{code="{code}"}} 1.0' in metrics


def test_an_error_after_the_first_events_is_one_of_the_log(mock_gateway, lines):
    class Breaking(MockTransport):
        def stream(self, request, deadline):
            yield next(super().stream(request, deadline))
            raise GenerationFailed("out of memory")

    address = mock_gateway(AsyncClient(transport=Breaking()))
    httpx2.post(address + PATH, json={"prompt": "a", "stream": True})
    (written,) = lines(1)
    assert (written["status"], written["outcome"], written["code"]) == (200, "failed", "generation_failed")
    assert 'diffusion_gateway_errors_total{code="generation_failed"} 1.0' in httpx2.get(f"{address}/metrics").text


def test_what_nobody_foresaw_is_logged_with_its_traceback(mock_gateway, lines):
    address = mock_gateway(failing(ZeroDivisionError("a secret")))
    answer = httpx2.post(address + PATH, json={"prompt": "a"}, headers={"x-request-id": "order-7"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "order-7")
    message, written = lines(2)
    assert message["message"] == "request order-7 failed"
    assert message["exception"].endswith("ZeroDivisionError: a secret")
    assert (written["status"], written["outcome"], written["code"]) == (500, "failed", "internal_error")


@pytest.mark.parametrize("name", ["two words", 'a"b', "a" * 129, ""])
def test_a_name_that_could_spoil_the_log_is_replaced(mock_gateway, lines, name):
    answer = httpx2.get(f"{mock_gateway()}/v1/models", headers={"x-request-id": name})
    assert answer.headers["x-request-id"] not in ("", name)
    assert lines(1)[0]["request_id"] == answer.headers["x-request-id"]


def test_no_prompt_is_ever_logged(mock_gateway, lines):
    address = mock_gateway()
    for body in (
        {"prompt": "a secret"},
        {"prompt": ["a secret"]},
        {"prompt": "a", "sampler": ["a secret"]},
        {"prompt": "a", "a secret": 1},
    ):
        httpx2.post(address + PATH, json=body)
    assert [written["outcome"] for written in lines(4)] == ["done", "invalid", "invalid", "invalid"]
    assert "secret" not in json.dumps(lines(4))


def test_probes_are_logged_only_if_they_fail(mock_gateway, lines, unused_url):
    for address in (mock_gateway(), mock_gateway(AsyncClient(unused_url, retries=0))):
        for path in ("healthz", "readyz", "metrics"):
            httpx2.get(f"{address}/{path}")
    (written,) = lines(1)
    assert (written["path"], written["status"], written["outcome"]) == ("/readyz", 503, "failed")


def test_other_messages_are_json_too():
    record = logging.LogRecord("uvicorn.error", logging.INFO, "", 0, "Started %s", ("server",), None)
    assert (
        json.loads(JsonLines().format(record)).items()
        >= {
            "level": "info",
            "event": "message",
            "message": "Started server",
        }.items()
    )
