"""Arguments become tensors: the same ones in both protocols' requests."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from triton_diffusion import InvalidRequest
from triton_diffusion._caller import caller
from triton_diffusion._deadline import Deadline
from triton_diffusion._request import Request, Tensor, checked, new_request
from triton_diffusion._settings import DATATYPES
from triton_diffusion._transports.grpc_wire import infer_message
from triton_diffusion._transports.http_wire import Exchange, cancel, infer, infer_body

VALUES = {
    "prompt": "a red circle, 圆 é",
    "negative_prompt": "",
    "num_images": 2,
    "height": 128,
    "width": 256,
    "num_inference_steps": 20,
    "guidance_scale": 7.5,
    "guidance_rescale": 0.75,
    "sampler": "ddim",
    "timestep_spacing": "karras",
    "eta": 0.25,
    "seed": 2**63 - 1,
    "priority": "high",
    "preview_interval": 5,
}


def wire_bytes(name: str) -> bytes:
    """The field's value on the wire, by the specification of Triton's binary tensors."""
    value = VALUES[name]
    if isinstance(value, str):
        return len(value.encode()).to_bytes(4, "little") + value.encode()
    if isinstance(value, float):
        return np.float32(value).tobytes()
    return value.to_bytes(8 if name == "seed" else 4, "little")


def request(fields: dict[str, object], model: str = "diffusion") -> Request:
    return Request(model, checked(fields), "0123", token="4567")


def sent(name: str, value: object) -> Tensor:
    (tensor,) = request({name: value}).tensors
    return tensor


def http_inputs(body: bytes, header_length: int) -> dict[str, tuple[str, list[int], bytes]]:
    header, rest, inputs = json.loads(body[:header_length]), body[header_length:], {}
    for tensor in header["inputs"]:
        size = tensor["parameters"]["binary_data_size"]
        inputs[tensor["name"]] = tensor["datatype"], tensor["shape"], rest[:size]
        rest = rest[size:]
    assert header["id"] == "0123"
    assert header["parameters"] == {"binary_data_output": True}
    assert rest == b""
    return inputs


def test_the_values_cover_every_field():
    assert list(VALUES) == list(DATATYPES)


@pytest.mark.parametrize("name", DATATYPES)
def test_grpc(name):
    message = infer_message(request({name: VALUES[name]}), Deadline(None))
    (tensor,) = message.inputs
    assert (message.model_name, message.id) == ("diffusion", "0123")
    assert (tensor.name, tensor.datatype, tensor.shape) == (name, DATATYPES[name], [1])
    assert message.raw_input_contents == [wire_bytes(name)]


@pytest.mark.parametrize("name", DATATYPES)
def test_http(name):
    inputs = http_inputs(*infer_body(request({name: VALUES[name]}), {}))
    assert inputs == {name: (DATATYPES[name], [1], wire_bytes(name))}


def test_all_fields_at_once():
    everything = request(VALUES)
    message, inputs = infer_message(everything, Deadline(None)), http_inputs(*infer_body(everything, {}))
    assert [tensor.name for tensor in message.inputs] == list(inputs) == list(VALUES)
    assert message.raw_input_contents == [content for _, _, content in inputs.values()]


def http_parameters(exchange: Exchange) -> dict[str, object]:
    header = exchange.body[: int(exchange.headers["Inference-Header-Content-Length"])]
    return json.loads(header)["parameters"]


@pytest.mark.parametrize(("timeout", "most"), [(2.5, 2_500_000), (1e-9, 1000), (1e15, 2**62), (math.inf, 2**62)])
def test_what_is_left_goes_along_in_microseconds(timeout, most):
    asked = request({"prompt": "a"})
    over_grpc = infer_message(asked, Deadline(timeout)).parameters["timeout"].int64_param
    over_http = http_parameters(infer(asked, Deadline(timeout)))["timeout"]
    for microseconds in (over_grpc, over_http):
        assert 0.9 * most <= microseconds <= most


def test_a_request_over_http_can_be_cancelled_by_its_token():
    asked = request({"prompt": "a"})
    assert http_parameters(infer(asked, Deadline(None))) == {"binary_data_output": True, "token": "4567"}
    assert http_parameters(cancel(asked)) == {"binary_data_output": True, "cancel": "4567"}


def test_without_an_end_there_is_no_deadline_to_send():
    assert not infer_message(request({"prompt": "a"}), Deadline(None)).parameters


def test_only_what_was_given_is_sent():
    assert checked({"prompt": "a", "seed": 0, "eta": 0.0, "negative_prompt": "", "height": None}) == {
        "prompt": "a",
        "seed": 0,
        "eta": 0.0,
        "negative_prompt": "",
    }


def test_numpy_scalars_become_plain_values():
    fields = checked({"seed": np.int64(7), "guidance_scale": np.float32(7.5), "eta": 1})
    assert {name: type(value) for name, value in fields.items()} == {"seed": int, "guidance_scale": float, "eta": float}


@given(st.sampled_from([name for name in DATATYPES if DATATYPES[name].startswith("INT")]), st.integers())
def test_integers_are_sent_exactly_or_refused(name, value):
    limit = 2 ** (63 if DATATYPES[name] == "INT64" else 31)
    if -limit <= value < limit:
        assert int.from_bytes(sent(name, value).content, "little", signed=True) == value
    else:
        with pytest.raises(InvalidRequest, match=f"{name} is {value}: use -{limit} to {limit - 1}") as refused:
            checked({name: value})
        assert (refused.value.field, refused.value.value) == (name, value)


@given(st.text(st.characters(codec="utf-8")))
def test_text_is_sent_as_utf8(value):
    text = value.encode()
    assert sent("prompt", value).content == len(text).to_bytes(4, "little") + text


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e9])
def test_ranges_are_left_to_the_server(value):
    assert sent("guidance_scale", value).content == np.float32(value).tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", b"a"),
        ("prompt", ["a"]),
        ("prompt", "\udcff"),
        ("sampler", 1),
        ("num_images", "2"),
        ("num_images", 2.0),
        ("num_images", True),
        ("seed", 2**63),
        ("guidance_scale", "7"),
        ("guidance_scale", False),
        ("guidance_scale", 1j),
        ("guidance_scale", 1e39),
        ("guidance_scale", 10**400),
    ],
)
def test_what_cannot_be_encoded_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequest, match=f"^{name} is .*: use ") as refused:
        checked({name: value})
    assert refused.value.field == name
    assert str(refused.value).endswith(f": use {refused.value.allowed}")


def test_a_seed_is_drawn_once_for_all_tries():
    drawn = {new_request("diffusion", {"prompt": "a"}).fields["seed"] for _ in range(10)}
    assert len(drawn) == 10
    assert all(0 <= seed < 2**32 for seed in drawn)
    assert new_request("diffusion", {"prompt": "a", "seed": 0}).fields["seed"] == 0


def test_every_request_has_an_id_of_its_own():
    assert len({new_request("diffusion", {"prompt": "a", "seed": 0}).id for _ in range(10)}) == 10


@pytest.mark.parametrize("request_id", ["7", "order-12_3.4:5@shop+x=/", "a" * 128])
def test_the_caller_may_name_the_request(request_id):
    assert new_request("diffusion", {"prompt": "a"}, request_id).id == request_id


@pytest.mark.parametrize("request_id", ["", "a" * 129, "two words", "line\n", 'quo"te', "größe", 7])
def test_a_name_that_could_spoil_a_log_is_refused(request_id):
    with pytest.raises(InvalidRequest, match=r"request_id is .*: use 1 to 128 ASCII letters") as error:
        new_request("diffusion", {"prompt": "a"}, request_id)
    assert error.value.field == "request_id"


def test_nobody_who_knows_the_name_can_cancel_the_request():
    ours, theirs = (new_request("diffusion", {"prompt": "a"}, "0123") for _ in range(2))
    assert len({ours.token, theirs.token, "0123"}) == 3


def test_the_caller_that_a_gateway_names_goes_along_over_both_protocols():
    token = caller.set("alice")
    try:
        asked = request({"prompt": "a"})
    finally:
        caller.reset(token)
    assert infer_message(asked, Deadline(None)).parameters["caller"].string_param == "alice"
    assert http_parameters(infer(asked, Deadline(None)))["caller"] == "alice"
    assert "caller" not in infer_message(request({"prompt": "a"}), Deadline(None)).parameters


def test_every_try_has_a_token_of_its_own_and_is_the_same_otherwise():
    asked = new_request("diffusion", {"prompt": "a"}, "0123")
    again = asked.renewed()
    assert again.token != asked.token
    assert replace(again, token=asked.token) == asked
