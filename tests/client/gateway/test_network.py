"""The gateway with a network between it and the server, and between it and its callers."""

import io
import threading
import time
from base64 import b64decode

import httpx2
import numpy as np
import pytest
from PIL import Image
from triton_diffusion import Client

from tests.support.launching import gateway
from tests.support.relay import relay

PROMPT = "a small red circle on the left of a blue background"
BODY = {"prompt": PROMPT, "seed": 7, "steps": 4}
LONG = BODY | {"steps": 1000}  # many seconds
TIMEOUT = 3.0
SLACK = 1.0  # seconds that a deadline may be missed by on a busy machine
HALF_AN_IMAGE = 128 * 128 * 3 // 2  # bytes


@pytest.fixture(scope="module")
def network(server):
    """The relay between gateway and server."""
    with relay(server.grpc_url) as between:
        yield between


@pytest.fixture(scope="module")
def address(network):
    with gateway("--url", network.url, "--timeout", str(TIMEOUT)) as (address, _):
        yield address


def ask(address: str, body: dict = BODY) -> httpx2.Response:
    return httpx2.post(f"{address}/v1/images/generations", json=body, timeout=60)


def test_latency_and_a_reset_in_the_middle_of_an_image_change_no_image(server, network, address):
    with Client(server.grpc_url) as client:
        expected = np.asarray(client.text_to_image(PROMPT, seed=7, num_inference_steps=4)[0])
    network.delay, network.reset_after = 0.25, HALF_AN_IMAGE
    try:
        (data,) = ask(address).raise_for_status().json()["data"]
    finally:
        network.delay = 0.0
    assert network.reset_after is None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(b64decode(data["b64_json"])))), expected)


def test_the_deadline_is_kept_where_the_server_vanishes(server, network, address):
    threading.Timer(0.5, network.silence).start()
    start = time.monotonic()
    answer = ask(address, LONG)
    assert answer.status_code == 504, answer.text
    assert time.monotonic() - start < TIMEOUT + SLACK
    network.reset()  # by and by its end of the connection would be noticed
    server.wait_until_idle()


def test_a_caller_that_is_reset_in_the_middle_of_a_stream_ends_its_request(server, address):
    cancelled = server.metric("diffusion_requests_total", outcome="cancelled")
    with relay(address.removeprefix("http://")) as before:
        threading.Timer(0.7, before.reset).start()
        with pytest.raises(httpx2.TransportError):
            ask(f"http://{before.url}", LONG | {"stream": True})
    server.wait_until_idle()
    assert server.metric("diffusion_requests_total", outcome="cancelled") == cancelled + 1  # long before its deadline
