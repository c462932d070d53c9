"""One id, one grep: a request in the logs of the real gateway, of `text_to_image` and of `diffusion`."""

import json
import subprocess
import time
from pathlib import Path

import httpx2
import pytest
from triton_diffusion import Client

from tests.support.launching import gateway

PROMPT = "a small red circle on the left of a blue background"


def grep(pattern: str, *logs: Path, lines: int) -> list[dict]:
    """The lines with `pattern` in them, once there are `lines`: the models write theirs after the answer."""
    deadline = time.monotonic() + 20
    while True:
        found = subprocess.run(["grep", "-h", pattern, *logs], capture_output=True, text=True).stdout.splitlines()
        if len(found) >= lines or time.monotonic() > deadline:
            return [json.loads(line) for line in found]
        time.sleep(0.1)


@pytest.fixture(scope="module")
def gateway_log(tmp_path_factory):
    return tmp_path_factory.mktemp("gateway") / "log"


@pytest.fixture(scope="module")
def address(server, gateway_log):
    with gateway_log.open("w") as log, gateway("--url", server.grpc_url, log=log) as (url, _):
        yield url


def test_a_request_to_the_gateway(address, gateway_log, server_log):
    body = {"prompt": PROMPT, "steps": 3, "n": 2}
    answer = httpx2.post(f"{address}/v1/images/generations", json=body, headers={"x-request-id": "order-7"}, timeout=60)
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "order-7")
    at_gateway, in_loop = sorted(grep("order-7", gateway_log, server_log, lines=2), key=lambda line: "model" in line)
    assert at_gateway["path"] == "/v1/images/generations"
    assert in_loop["model"] == "diffusion"
    for line in (at_gateway, in_loop):
        assert (line["event"], line["request_id"], line["outcome"], line["images"]) == ("request", "order-7", "done", 2)
    assert "caller" not in in_loop, "without keys nobody is known"
    assert at_gateway["seconds"] >= in_loop["seconds"] - 0.01


def test_the_server_knows_the_caller_by_the_name_of_the_key(server, server_log, key, keys_file):
    headers = {"x-request-id": "order-of-alice", "authorization": f"Bearer {key}", "caller": "bob"}
    with gateway("--url", server.grpc_url, "--keys", str(keys_file)) as (url, _):
        answer = httpx2.post(f"{url}/v1/images/generations", json={"prompt": PROMPT, "steps": 1}, headers=headers)
    assert answer.status_code == 200
    (in_loop,) = grep("order-of-alice", server_log, lines=1)
    assert in_loop["caller"] == "alice"


def test_a_request_without_a_name_gets_one(address, gateway_log, server_log):
    body = {"prompt": PROMPT, "steps": 0}
    answer = httpx2.post(f"{address}/v1/images/generations", json=body, timeout=60)
    assert answer.status_code == 400
    found = grep(answer.headers["x-request-id"], gateway_log, server_log, lines=2)
    assert [line["outcome"] for line in found] == ["invalid", "invalid"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_request_of_the_sdk(server, server_log, protocol):
    name = f"order-{protocol}"
    with Client(server.grpc_url if protocol == "grpc" else server.http_url, protocol) as client:
        client.text_to_image(PROMPT, num_inference_steps=3, request_id=name)
    found = grep(name, server_log, lines=2)
    assert {line["model"]: line["outcome"] for line in found} == {"text_to_image": "done", "diffusion": "done"}


def test_the_logs_tell_no_prompt(address, gateway_log, server_log):
    httpx2.post(f"{address}/v1/images/generations", json={"prompt": PROMPT, "steps": 1}, timeout=60)
    assert grep(PROMPT, gateway_log, server_log, lines=0) == []


def test_every_line_of_the_gateways_log_is_json(address, gateway_log):
    lines = [json.loads(line) for line in gateway_log.read_text().splitlines()]
    assert "Application startup complete." in [line.get("message") for line in lines]
    assert all({"time", "level", "event"} <= {*line} for line in lines)
