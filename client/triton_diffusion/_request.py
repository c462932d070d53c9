"""Requests: arguments, checked and encoded, the same for both protocols and both clients.

Only a value that cannot be put on the wire is refused here. Ranges, names and sizes are the server's to check, because
they depend on the checkpoint that it serves.
"""

import re
import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ._caller import caller
from ._errors import InvalidRequest
from ._settings import DATATYPES, STREAM_ONLY
from ._trace import trace_context

Value: TypeAlias = str | int | float

_FORMATS = {"INT32": "<i", "INT64": "<q", "FP32": "<f"}
_REQUEST_ID = re.compile(r"[\w.:@+=/-]{1,128}", re.ASCII)  # stays one word in any log, and one header in HTTP


class Tensor(NamedTuple):
    """One input of shape [1]."""

    name: str
    datatype: str  # Triton's name of it
    content: bytes  # as both protocols send it: little-endian, a text preceded by its length in four bytes


@dataclass(frozen=True)
class Request:
    """One call of a model, complete: sent twice, it gives the same images."""

    model: str
    fields: Mapping[str, Value]  # `checked`
    id: str  # the server repeats it in its errors and logs
    token: str = field(default_factory=lambda: secrets.token_hex(16))  # who knows it may cancel the request over HTTP
    trace: Mapping[str, str] = field(default_factory=trace_context)  # headers
    caller: str | None = field(default_factory=caller.get)  # on whose behalf a gateway asks

    @property
    def tensors(self) -> list[Tensor]:
        return [_tensor(name, value) for name, value in self.fields.items()]

    def renewed(self) -> "Request":
        """The same request under a token of its own: another try of it may still be on the server."""
        return replace(self, token=secrets.token_hex(16))


def id_of(request: Request | None) -> str | None:
    """The id for an error; there is none where no images were asked for."""
    return None if request is None else request.id


def new_request(model: str, arguments: Mapping[str, object], request_id: str | None = None) -> Request:
    """The request for `arguments`, of which those that are None were not given.

    A seed that was not given is drawn here, and not by the server: a second try must give the same images. Raises
    InvalidRequest, and TypeError for an argument that the model does not have.
    """
    if request_id is None:
        request_id = new_request_id()
    elif not is_request_id(request_id):
        raise _refused("request_id", request_id, "1 to 128 ASCII letters, digits and any of _ . : @ + = / -")
    known = [name for name in DATATYPES if model == "diffusion" or name not in STREAM_ONLY]
    for name in arguments:
        if name not in known:
            raise TypeError(f"{name!r} is no argument of the call: use any of {', '.join(known)}")
    fields = checked(arguments)
    return Request(model, fields if "seed" in fields else {**fields, "seed": secrets.randbits(32)}, request_id)


def new_request_id() -> str:
    return secrets.token_hex(8)


def is_request_id(value: object) -> bool:
    """True if `value` can be the id of a request."""
    return isinstance(value, str) and _REQUEST_ID.fullmatch(value) is not None


def checked(arguments: Mapping[str, object]) -> dict[str, Value]:
    """The arguments that were given (not None), as plain Python values that can be encoded.

    Raises InvalidRequest, naming the field, if a value has the wrong type or does not fit its datatype.
    """
    return {name: _CHECKS[DATATYPES[name]](name, value) for name, value in arguments.items() if value is not None}


def _tensor(name: str, value: Value) -> Tensor:
    datatype = DATATYPES[name]
    if isinstance(value, str):
        text = value.encode()
        return Tensor(name, datatype, struct.pack("<I", len(text)) + text)
    return Tensor(name, datatype, struct.pack(_FORMATS[datatype], value))


def _refused(name: str, value: object, allowed: str) -> InvalidRequest:
    return InvalidRequest(f"{name} is {value!r}: use {allowed}", name, value, allowed)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refused(name, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, as from undecodable file names or arguments
        raise _refused(name, value, "text that UTF-8 can encode") from None
    return value


def _integer(name: str, value: object, dtype: type[np.signedinteger[Any]]) -> int:
    # True would pass as 1, and is a mistake at every field.
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise _refused(name, value, "an integer")
    number, limits = int(value), np.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise _refused(name, number, f"{limits.min} to {limits.max}, which fit {limits.bits} bits")
    return number


def _float(name: str, value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise _refused(name, value, "a number")
    try:
        struct.pack("<f", value)
    except (OverflowError, struct.error):  # the second for integers beyond any float
        raise _refused(name, value, "a number that 32-bit floating point can hold") from None
    return float(value)


_CHECKS: dict[str, Callable[[str, object], Value]] = {
    "BYTES": _text,
    "INT32": lambda name, value: _integer(name, value, np.int32),
    "INT64": lambda name, value: _integer(name, value, np.int64),
    "FP32": _float,
}
