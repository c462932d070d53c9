"""Hostile requests to Triton's own ports, which are for trusted networks: it may die, and then comes back as it was."""

import socket
import time
from contextlib import suppress

import grpc
import numpy as np
import pytest
from hypothesis import strategies as st
from triton_diffusion import Client
from tritonclient.grpc import service_pb2

from tests.support.fuzzing import fuzz
from tests.support.hostile import DATATYPES, INFER_PATHS, NAMES, NUMBERS, bodies, requests
from tests.support.malformed import DEADLY, HUGE
from tests.support.mortal import mortal_server
from tests.support.raw_http import request, send

pytestmark = pytest.mark.slow
SERVICE = "/inference.GRPCInferenceService/"
UNARY = ("ModelInfer", "ModelInfer", "ModelMetadata", "ModelConfig", "ModelReady", "RepositoryIndex", "TraceSetting")
HABITS = ("read", "half-closed", "cancelled", "never read")


@pytest.fixture(scope="module")
def mortal(shipped_repository):
    with mortal_server(shipped_repository) as mortal:
        yield mortal
    print(f"\n{mortal.deaths} deaths of Triton, started again each time")


def image(server):
    with Client(server.grpc_url) as client:
        (made,) = client.text_to_image("a red circle", seed=7, num_inference_steps=2)
    return np.asarray(made)


@pytest.fixture(scope="module", autouse=True)
def expected(mortal):
    """The image of a known seed, which is the same when all is over."""
    made = image(mortal.server)
    yield made
    mortal.mend()
    assert np.array_equal(image(mortal.server), made)


@pytest.mark.parametrize("malformed", {**DEADLY, **HUGE}.values(), ids={**DEADLY, **HUGE})
def test_after_what_may_end_triton_a_seed_gives_the_same_bytes(mortal, expected, malformed):
    headers = [("Host", "localhost"), ("Content-Length", str(len(malformed.body))), *malformed.headers.items()]
    with suppress(OSError):
        send(mortal.server.http_url, request("POST", malformed.path, headers, malformed.body))
    mortal.mend()
    assert np.array_equal(image(mortal.server), expected)


@fuzz(100, raw=requests(INFER_PATHS, bodies()))
def test_hostile_http(mortal, raw):
    with suppress(OSError):
        send(mortal.server.http_url, raw)
    mortal.mend()


@st.composite
def messages(draw):
    """The bytes of a ModelInferRequest, most of them wrong."""
    model = draw(st.sampled_from(["text_to_image", "diffusion", "denoiser", ""]))
    message = service_pb2.ModelInferRequest(model_name=model)
    for _ in range(draw(st.integers(0, 3))):
        sides = draw(st.lists(NUMBERS | st.integers(-3, 3), max_size=4))
        shape = [min(side, 2**63 - 1) for side in sides]
        tensor = message.inputs.add(name=draw(NAMES), datatype=draw(DATATYPES), shape=shape)
        if draw(st.booleans()):
            tensor.contents.int64_contents.extend(draw(st.lists(st.integers(-1, 3), max_size=3)))
        else:
            message.raw_input_contents.append(draw(st.binary(max_size=20)))
        if draw(st.booleans()):
            tensor.parameters["shared_memory_region"].string_param = "x"
    if draw(st.booleans()):
        message.parameters["timeout"].string_param = "x"
    content = message.SerializeToString()
    at = draw(st.integers(0, len(content)))
    return draw(st.sampled_from([content, content, content[:at], content[:at] + b"\xff\xff\xff\x7f" + content[at:]]))


@fuzz(100, content=messages(), call=st.sampled_from(UNARY), stream=st.booleans(), habit=st.sampled_from(HABITS))
def test_hostile_grpc(mortal, content, call, stream, habit):
    with grpc.insecure_channel(mortal.server.grpc_url) as channel, suppress(grpc.RpcError):
        if not stream:
            channel.unary_unary(SERVICE + call)(content, timeout=5)
        else:
            asked = channel.stream_stream(f"{SERVICE}ModelStreamInfer")(sent(content, habit), timeout=5)
            if habit in ("read", "half-closed"):
                next(asked, None)
            else:
                time.sleep(0.05)
            asked.cancel()
    mortal.mend()


def sent(content: bytes, habit: str):
    """The requests of a stream: one and the end where it is half-closed, else many."""
    for _ in range(1 if habit == "half-closed" else 5):
        yield content


@fuzz(20, raw=st.binary(max_size=60), preface=st.booleans())
def test_bytes_that_are_no_grpc(mortal, raw, preface):
    host, port = mortal.server.grpc_url.split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if preface else b"") + raw)
    mortal.mend()
