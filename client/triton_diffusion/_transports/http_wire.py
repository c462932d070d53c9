"""Messages over HTTP, for both transports: Triton's protocol with its tensors in binary."""

import email.utils
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from .._checkpoint import Checkpoint, read_checkpoint
from .._deadline import Deadline
from .._request import Request
from .._response import Answer, Model, tensor
from .transport import CHECKPOINT, READY, VERSION, Question

_HEADER_LENGTH = "Inference-Header-Content-Length"  # where the JSON ends and the binary tensors begin


T = TypeVar("T")


class Exchange(NamedTuple, Generic[T]):
    """One request over HTTP, and the reading of its answer from headers and content, as a T."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    decode: Callable[[Mapping[str, str], bytes], T]


def infer(request: Request, deadline: Deadline) -> Exchange[Answer]:
    """The request for images, with a token by which it can be cancelled."""
    parameters: dict[str, str | int] = {"token": request.token}
    if (microseconds := deadline.microseconds) is not None:
        parameters["timeout"] = microseconds
    if request.caller is not None:
        parameters["caller"] = request.caller
    return _post(request, parameters)


def cancel(request: Request) -> Exchange[Answer]:
    """The request that ends another: HTTP has no cancellation, and Triton does not notice that a client has left."""
    return _post(request, {"cancel": request.token})


def _post(request: Request, parameters: Mapping[str, str | int]) -> Exchange[Answer]:
    body, header_length = infer_body(request, parameters)
    headers = {_HEADER_LENGTH: str(header_length), "Content-Type": "application/octet-stream", **request.trace}
    return Exchange("POST", f"/v2/models/{request.model}/infer", headers, body, _answer)


def infer_body(request: Request, parameters: Mapping[str, str | int]) -> tuple[bytes, int]:
    """The body that asks for all outputs in binary, and the length of the JSON at its start."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": len(content)}}
        for name, datatype, content in request.tensors
    ]
    everything = {"id": request.id, "inputs": inputs, "parameters": {"binary_data_output": True, **parameters}}
    header = json.dumps(everything).encode()
    return header + b"".join(content for _, _, content in request.tensors), len(header)


def _answer(headers: Mapping[str, str], content: bytes) -> Answer:
    start = int(headers[_HEADER_LENGTH])
    header = json.loads(content[:start])
    outputs = {}
    for output in header["outputs"]:
        end = start + output["parameters"]["binary_data_size"]
        array = tensor(output["datatype"], output["shape"], content[start:end])
        if array is not None:
            outputs[output["name"]] = array
        start = end
    return Answer(outputs, header["model_version"])


def model(name: str) -> Exchange[Model]:
    """The question for a model's metadata, which Triton has of those that are ready."""
    return Exchange("GET", f"/v2/models/{name}", {}, b"", _model)


def _model(headers: Mapping[str, str], content: bytes) -> Model:
    described = json.loads(content)
    return Model(described["name"], " ".join(described["versions"]), ready=True)


def _checkpoint(headers: Mapping[str, str], content: bytes) -> Checkpoint | None:
    parameters = json.loads(content)["parameters"]
    return read_checkpoint({name: value["string_value"] for name, value in parameters.items()})


def question(asked: Question[T]) -> Exchange[T]:
    """The exchange that answers a question."""
    return _QUESTIONS[asked]


_QUESTIONS: dict[Question[Any], Exchange[Any]] = {
    READY: Exchange("GET", "/v2/health/ready", {}, b"", lambda headers, content: True),
    VERSION: Exchange("GET", "/v2", {}, b"", lambda headers, content: json.loads(content)["version"]),
    CHECKPOINT: Exchange("GET", "/v2/models/diffusion/config", {}, b"", _checkpoint),
}


def error_message(status: int, content: bytes) -> str:
    """Triton's message, or for an answer that is not Triton's (a proxy's page, say) the status alone."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, TypeError, KeyError):
        return f"the server answered with HTTP status {status}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which the server wants to be asked again; its header has them, or a date, by the server's clock."""
    header = headers.get("Retry-After", "")
    if header.isdecimal():
        return float(header)
    with suppress(ValueError, TypeError):  # of what is no date, or has no time zone
        date = email.utils.parsedate_to_datetime
        return max(0.0, (date(header) - date(headers.get("Date", ""))).total_seconds())
    return None
