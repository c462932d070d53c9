"""Request parameters and ids on the real server: wrong ones are refused, and none can touch another's request."""

import json
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.model_repository.conftest import inputs

PROMPT = "a small red circle"
KINDS = {"grpc": tritonclient.grpc, "http": tritonclient.http}


@pytest.fixture(params=KINDS)
def infer(request, server) -> Iterator[Callable[..., np.ndarray]]:
    """text_to_image over both protocols, with request parameters: the images."""
    kind = KINDS[request.param]
    with kind.InferenceServerClient(server.http_url if request.param == "http" else server.grpc_url) as client:

        def infer(parameters: dict[str, Any], request_id: str = "", **fields: Any) -> np.ndarray:
            asked = inputs(kind, {"prompt": PROMPT, **fields})
            answer = client.infer("text_to_image", asked, request_id=request_id, parameters=parameters)
            return answer.as_numpy("image")

        yield infer


@pytest.fixture
def stub(server) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    with grpc.insecure_channel(server.grpc_url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def message(model: str, *, request_id: str = "", steps: int = 1) -> service_pb2.ModelInferRequest:
    asked = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    for tensor in inputs(tritonclient.grpc, {"prompt": PROMPT, "num_inference_steps": steps}):
        asked.inputs.append(tensor._get_tensor())
        asked.raw_input_contents.append(tensor._get_content())
    return asked


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"token": 5}, "token is 5: use 16 to 128 ASCII letters"),
        ({"token": True}, "token is True: use 16"),
        ({"token": ""}, "token is '': use 16"),
        ({"token": "guessable"}, "token is 'guessable': use 16"),
        ({"token": "a line\nand another"}, r"token is 'a line\nand another': use 16"),
        ({"token": "t" * 10_000}, "token is 'tttt"),
        ({"cancel": True}, "cancel is True: use 16"),
        ({"cancel": 7}, "cancel is 7: use 16"),
        ({"caller": 7}, "caller is 7: use 1 to 64"),
        ({"caller": "two words"}, "caller is 'two words': use 1 to 64"),
        ({"steps": 20}, "'steps' is no request parameter: use timeout, token or cancel"),
        ({"line\nforged": "x"}, r"'line\nforged' is no request parameter"),
    ],
    ids=repr,
)
def test_a_wrong_parameter_is_refused_in_one_line(infer, parameters, line):
    with pytest.raises(InferenceServerException) as caught:
        infer(parameters)
    assert caught.value.status() in ("StatusCode.INVALID_ARGUMENT", "400")
    assert line in caught.value.message()
    assert "\n" not in caught.value.message()
    assert len(caught.value.message()) < 300


@pytest.mark.parametrize(
    ("parameter", "kind", "value"), [("timeout", "int64_param", -1), ("token", "double_param", 0.5)]
)
@pytest.mark.parametrize("model", ["text_to_image", "diffusion"])
def test_what_only_raw_grpc_can_send_is_refused_too(stub, model, parameter, kind, value):
    asked = message(model)
    setattr(asked.parameters[parameter], kind, value)
    if model == "diffusion":
        said = str([*stub.ModelStreamInfer(iter([asked]), timeout=20)])
        assert f"INVALID_ARG: {parameter} is " in said
    else:
        with pytest.raises(grpc.RpcError, match=f"{parameter} is ") as caught:
            stub.ModelInfer(asked, timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_second_request_with_the_token_of_one_that_runs_is_refused(server, infer):
    server.wait_until_idle()
    token = secrets.token_hex(16)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        asked = inputs(tritonclient.grpc, {"prompt": PROMPT, "num_inference_steps": 1000})
        call = client.async_infer("text_to_image", asked, lambda *answer: None, parameters={"token": token})
        try:
            deadline = time.monotonic() + 10
            while not server.metric("diffusion_active_samples"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with pytest.raises(
                InferenceServerException, match="token is that of a request which has not ended"
            ) as error:
                infer({"token": token})
            assert token not in error.value.message()
            assert server.metric("diffusion_active_samples") == 1, "the first one goes on"
        finally:
            call.cancel()
    server.wait_until_idle()
    again = infer({"token": secrets.token_hex(16)}, num_inference_steps=1)
    assert again.shape == (1, 128, 128, 3)


def test_a_token_is_free_again_when_its_request_has_ended(infer):
    token = secrets.token_hex(16)
    images = [infer({"token": token}, seed=3, num_inference_steps=2) for _ in range(2)]
    np.testing.assert_array_equal(*images)


def test_cancelling_by_guessed_tokens_and_ids_ends_nothing(server, infer):
    server.wait_until_idle()
    token = secrets.token_hex(16)
    cancelled = server.metric("diffusion_requests_total", outcome="cancelled")
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        asked = inputs(tritonclient.grpc, {"prompt": PROMPT, "num_inference_steps": 100})
        answers: list[Any] = []
        client.async_infer(
            "text_to_image",
            asked,
            lambda result, error: answers.append(error or result),
            request_id="the-id-of-the-request",
            parameters={"token": token},
        )
        for guess in ("the-id-of-the-request", token[:-1] + "g", token.upper() + "0", "0" * 32):
            with pytest.raises(InferenceServerException, match="the request was cancelled"):
                infer({"cancel": guess})  # the same answer as if there had been one: nothing to learn
        deadline = time.monotonic() + 60
        while not answers:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert answers[0].as_numpy("image").shape == (1, 128, 128, 3)
    assert server.metric("diffusion_requests_total", outcome="cancelled") == cancelled


FORGED = '{"time": "2026-01-01T00:00:00Z", "level": "error", "event": "forged"}'


@pytest.mark.parametrize(
    "request_id",
    [f"x\n{FORGED}\n", 'quo"te\\', "größe\u2028\x85", "i" * 10_000],
    ids=["lines", "quote", "unicode", "10kB"],
)
def test_an_id_stays_one_field_of_one_line_of_the_log(server, server_log, infer, request_id):
    infer({}, request_id, num_inference_steps=1)
    logged: set[str] = set()
    deadline = time.monotonic() + 20
    while logged != {"diffusion", "text_to_image"}:  # the answer comes before its line
        assert time.monotonic() < deadline, logged
        time.sleep(0.05)
        records = [json.loads(line) for line in server_log.read_text().split("\n")[:-1] if line.startswith("{")]
        logged = {record["model"] for record in records if record.get("request_id") == request_id[:128]}
    assert not [record for record in records if record.get("event") == "forged"]


def test_an_id_that_is_no_utf8_is_refused_and_tells_no_path(server):
    tensors = b'[{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["a"]}]'
    body = b'{"id": "\xff\xfe", "inputs": ' + tensors + b"}"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{server.http_url}/v2/models/text_to_image/infer", data=body, timeout=20)
    assert caught.value.code == 400
    assert json.loads(caught.value.read())["error"].startswith("the id or a request parameter holds other bytes")
