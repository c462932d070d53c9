"""Hostile requests to the gateway: from its own OpenAPI description, and as raw bytes."""

import json

import httpx2
import pytest
from hypothesis import strategies as st

from tests.support.fuzzing import fuzz
from tests.support.hostile import SCALARS, VALUES, check, requests
from tests.support.malformed import MALFORMED
from tests.support.raw_http import request, send

GENERATIONS = "/v1/images/generations"
PATHS = (GENERATIONS, GENERATIONS, GENERATIONS, "/v1/models", "/v1/models/x", "/v1/models/%00", "/healthz", "/x", "*")
NOT_AN_IMAGE = {"prompt": "a red circle", "steps": 0}  # refused by the server


def message(body: bytes) -> str:
    """The reason in an answer: OpenAI's form, or where it is no HTTP the line of the HTTP server."""
    return json.loads(body)["error"]["message"] if body.startswith(b"{") else body.decode()


def properties(schema: dict) -> dict[str, st.SearchStrategy]:
    """Values for each property of the body: of its types, from its choices, or anything."""
    return {name: of_schema(each) | VALUES for name, each in schema["properties"].items() if name != "steps"}


def of_schema(schema: dict) -> st.SearchStrategy:
    if "anyOf" in schema:
        return st.one_of([of_schema(each) for each in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "integer":
            low, high = schema.get("minimum", -(2**64)), schema.get("maximum", 2**64)
            return st.integers(low, high)
        case "number":
            return st.floats()
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            return st.text(max_size=40)
    return SCALARS


@pytest.fixture(scope="module")
def fields(open_gateway):
    """Strategies by property, from the description that the gateway itself gives."""
    described = httpx2.get(f"http://{open_gateway}/openapi.json", timeout=20).json()
    content = described["paths"][GENERATIONS]["post"]["requestBody"]["content"]
    return properties(content["application/json"]["schema"])


def post(url: str, body: bytes, *headers: tuple[str, str]):
    given = [("Host", "localhost"), ("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
    return send(url, request("POST", GENERATIONS, given, body))


@fuzz(150, data=st.data())
def test_bodies_from_its_own_description_are_answered(open_gateway, fields, data):
    chosen = data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True))
    body = {**NOT_AN_IMAGE, **{name: data.draw(fields[name], label=name) for name in chosen}}
    answer = post(open_gateway, json.dumps(body).encode())
    check(answer, message)
    assert 400 <= answer.status < 500


@st.composite
def bodies(draw):
    body = json.dumps({**NOT_AN_IMAGE, **draw(st.dictionaries(st.sampled_from(["n", "size", "x"]), VALUES))}).encode()
    at = draw(st.integers(0, len(body)))
    return draw(st.sampled_from([body, body[:at], body[:at] + b"\xff\x00" + body[at:], b"[" * 60_000, b""]))


@fuzz(150, raw=requests(PATHS, bodies()))
def test_raw_requests_are_answered(open_gateway, raw):
    check(send(open_gateway, raw), message)


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
def test_what_ends_or_misleads_triton_is_refused(open_gateway, malformed):
    answer = post(open_gateway, malformed.body, *malformed.headers.items())
    assert 400 <= answer.status < 500
    check(answer, message)
