"""Strategies of hypothesis for bodies and requests over HTTP, most of them nearly right; and what an answer may be."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.support.launching import ADMIN_KEY, ROOT
from tests.support.malformed import GENERATE, INFER, infer, tensor
from tests.support.raw_http import Answer, chunked, request

SECONDS = 5.0  # for a refusal; it takes milliseconds, but the machine may have other work
SECRETS = (ADMIN_KEY, str(ROOT), "/tmp/", "/usr/", "/home/", "Traceback", "site-packages")
KNOWN = ("BOOL", "UINT8", "INT16", "INT32", "INT64", "UINT64", "FP16", "BF16", "FP32", "FP64", "BYTES")
NUMBERS = st.sampled_from([0, 1, -1, 7, 2, 2**31 - 1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, 2**70])
FRACTIONS = st.sampled_from([0.5, -0.0, 1.0, 1e308, float("nan"), float("inf")])
TEXTS = st.sampled_from(["", "a", "red circle", "é" * 300, "\x00", "a\nb", "../x", "\ud83d", "%s%n", "a" * 5000])
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, FRACTIONS, TEXTS)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=4),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2)),
)
DATATYPES = st.sampled_from([*KNOWN, "STRING", "x"])
NAMES = st.sampled_from(["prompt", "seed", "height", "eta", "sampler", "guidance_scale", "priority", "x", ""])
SHAPES = st.lists(NUMBERS, max_size=9) | VALUES
PARAMETERS = st.dictionaries(
    st.sampled_from(["timeout", "priority", "token", "cancel", "binary_data_size", "sequence_id", "triton_x", "a"]),
    VALUES,
)
REFUSED = tensor([1], [99.0], "FP32", "guidance_scale")  # by the model, so that what gets there costs no image


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Any]:
    made = {"name": draw(NAMES), "datatype": draw(DATATYPES), "shape": draw(SHAPES), "data": draw(VALUES)}
    if draw(st.integers(0, 3)) == 0:
        made["parameters"] = draw(PARAMETERS)
    if draw(st.integers(0, 5)) == 0:
        del made[draw(st.sampled_from(sorted(made)))]
    return made


@st.composite
def texts_of_json(draw: st.DrawFn) -> bytes:
    """The JSON of a request to infer or generate, of right form, but for its values."""
    if draw(st.booleans()):
        fields = {"prompt": "a red circle", "guidance_scale": 99, **draw(st.dictionaries(NAMES, VALUES, max_size=3))}
        return json.dumps(fields).encode()
    body = json.loads(infer(REFUSED, *draw(st.lists(tensors(), max_size=2))))
    for name in draw(st.lists(st.sampled_from(["id", "parameters", "outputs", "inputs", "x"]), max_size=2)):
        body[name] = draw(PARAMETERS if name == "parameters" else VALUES)
    return json.dumps(body).encode()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Such a JSON, often damaged."""
    body = draw(texts_of_json())
    at = draw(st.integers(0, len(body)))
    match draw(st.sampled_from(["whole", "whole", "cut", "overwritten", "inserted", "more", "noise", "deep"])):
        case "cut":
            return body[:at]
        case "overwritten":
            return body[:at] + draw(st.binary(min_size=1, max_size=8)) + body[at + 8 :]
        case "inserted":
            return (
                body[:at]
                + draw(st.sampled_from([b"[", b"{", b'"', b"\\", b",", b"\x00", b"1e999", b"\xff"]))
                + body[at:]
            )
        case "more":
            return body + draw(st.binary(max_size=40))
        case "noise":
            return draw(st.binary(max_size=200))
        case "deep":
            return draw(st.sampled_from([b"[", b'{"a":', b'[{"inputs":'])) * draw(st.integers(1, 20_000))
    return body


HEADERS = st.lists(
    st.sampled_from(
        [
            ("Content-Encoding", "gzip"),
            ("Content-Encoding", "identity"),
            ("Content-Encoding", "deflate, gzip"),
            ("Accept-Encoding", "gzip"),
            ("Inference-Header-Content-Length", "-1"),
            ("Inference-Header-Content-Length", "10"),
            ("Inference-Header-Content-Length", "99999999999999999999"),
            ("Inference-Header-Content-Length", "0x10"),
            ("Content-Type", "application/octet-stream"),
            ("Expect", "100-continue"),
            ("Expect", "x"),
            ("Content-Length", "5"),
            ("Content-Length", "-5"),
            ("Transfer-Encoding", "chunked"),
            ("Transfer-Encoding", "gzip, chunked"),
            ("Connection", "upgrade"),
            ("Upgrade", "h2c"),
            ("Host", ""),
            ("X", "a" * 9000),
            ("X y", "z"),
            ("X", "\x01"),
            ("traceparent", "x"),
        ]
    ),
    max_size=3,
)
METHODS = st.sampled_from(["POST"] * 12 + ["GET", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT", "post", "", "A" * 300])


@st.composite
def requests(draw: st.DrawFn, paths: tuple[str, ...], bodies: st.SearchStrategy[bytes]) -> bytes:
    """The bytes of a request with one of `bodies` to one of `paths`."""
    body = draw(bodies)
    headers = [("Host", "localhost"), ("Content-Type", "application/json"), *draw(HEADERS)]
    match draw(st.sampled_from(["length", "length", "length", "chunked", "short", "none"])):
        case "length":
            headers.append(("Content-Length", str(len(body))))
        case "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
            body = chunked(body, draw(st.integers(1, 500))) if draw(st.booleans()) else body
        case "short":
            headers.append(("Content-Length", str(len(body) + draw(st.integers(-20, 20)))))
    return request(draw(METHODS), draw(st.sampled_from(paths)), headers, body)


INFER_PATHS = (
    INFER,
    INFER,
    GENERATE,
    INFER.replace("infer", "generate_stream"),
    INFER + "?x=1",
    "/v2/models/denoiser/infer",
)


def check(answer: Answer, error_of: Callable[[bytes], str]) -> None:
    """Hold an answer to the promises: in time, a client's error or none, with a reason, and no secret in it."""
    text = answer.body.decode(errors="replace")
    assert answer.status < 500, text[:300]
    assert not [secret for secret in SECRETS if secret in text]
    if answer.status >= 400:
        assert answer.seconds < SECONDS
        if answer.body:
            assert len(error_of(answer.body)) > 8
