"""Hostile requests over HTTP to the checked nginx: each is answered, and the server behind it makes the same images."""

import json

import numpy as np
import pytest
from triton_diffusion import Client

from tests.support.fuzzing import fuzz
from tests.support.hostile import INFER_PATHS, bodies, check, requests
from tests.support.raw_http import send


@pytest.fixture(scope="module", autouse=True)
def same_bytes(server):
    """The image of a known seed is the same afterwards."""
    with Client(server.grpc_url) as client:
        before = client.text_to_image("a red circle", seed=7, num_inference_steps=2)
        yield
        after = client.text_to_image("a red circle", seed=7, num_inference_steps=2)
    assert np.array_equal(np.asarray(before[0]), np.asarray(after[0]))


@fuzz(250, raw=requests(INFER_PATHS, bodies()))
def test_every_request_is_answered_in_time_and_tells_nothing(proxy, raw):
    check(send(proxy.http_url, raw), error_of)


def error_of(body: bytes) -> str:
    """The message in an answer; nginx itself answers what is no HTTP, such as a chunked body without its lengths."""
    if body.startswith(b"<html>"):
        return body.decode()
    return json.loads(body.removeprefix(b"data: "))["error"]
