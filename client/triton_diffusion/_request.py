"""From arguments to tensors, the same for both protocols.

Only what cannot be put on the wire is refused here. What is allowed (ranges, names, sizes) the server decides, because
it depends on the checkpoint that it serves.
"""

import struct
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._errors import InvalidRequest

Value: TypeAlias = str | int | float

# Every input of the models `text_to_image` and `diffusion` with its Triton datatype; each is one value, shape [1].
DATATYPES = {
    "prompt": "BYTES",
    "negative_prompt": "BYTES",
    "num_images": "INT32",
    "height": "INT32",
    "width": "INT32",
    "num_inference_steps": "INT32",
    "guidance_scale": "FP32",
    "sampler": "BYTES",
    "timestep_spacing": "BYTES",
    "eta": "FP32",
    "seed": "INT64",
    "preview_interval": "INT32",  # of `diffusion` only
}
_NUMPY_DTYPES = {"BYTES": np.object_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32}


class Tensor(NamedTuple):
    name: str
    datatype: str  # Triton's name of it
    array: NDArray  # shape [1]; BYTES are objects of type `bytes`


def checked(fields: Mapping[str, object]) -> dict[str, Value]:
    """The fields that the caller gave (not None), as plain Python values that can be encoded.

    Raises InvalidRequest, naming the field, if a value has the wrong type or does not fit its datatype.
    """
    return {name: _CHECKS[DATATYPES[name]](name, value) for name, value in fields.items() if value is not None}


def tensors(fields: Mapping[str, Value]) -> list[Tensor]:
    """The input tensors of `checked` fields."""
    encoded = []
    for name, value in fields.items():
        datatype = DATATYPES[name]
        wire_value = value.encode() if isinstance(value, str) else value
        encoded.append(Tensor(name, datatype, np.array([wire_value], dtype=_NUMPY_DTYPES[datatype])))
    return encoded


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is {value!r}; it must be a string", name)
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, as from undecodable file names or arguments
        raise InvalidRequest(f"{name} is {value!r}; it must be text that UTF-8 can encode", name) from None
    return value


def _integer(name: str, value: object, dtype: type[np.signedinteger]) -> int:
    # True would pass as 1, and is a mistake at every field.
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise InvalidRequest(f"{name} is {value!r}; it must be an integer", name)
    number, limits = int(value), np.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise InvalidRequest(f"{name} is {number}; it must fit {limits.bits} bits ({limits.min}..{limits.max})", name)
    return number


def _float(name: str, value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InvalidRequest(f"{name} is {value!r}; it must be a number", name)
    try:
        struct.pack("<f", value)
    except (OverflowError, struct.error):  # the second for integers beyond any float
        raise InvalidRequest(f"{name} is {value!r}; it must fit 32-bit floating point", name) from None
    return float(value)


_CHECKS: dict[str, Callable[[str, object], Value]] = {
    "BYTES": _text,
    "INT32": lambda name, value: _integer(name, value, np.int32),
    "INT64": lambda name, value: _integer(name, value, np.int64),
    "FP32": _float,
}
