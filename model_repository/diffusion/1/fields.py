"""Fields of the wire interface: the kinds there are, what each allows, and one clear line when a value breaks it."""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from checkpoint import Checkpoint
from errors import InvalidRequest

MAX_TEXT_BYTES = 4096


@dataclass(frozen=True)
class Field:
    """An optional input tensor of one value, shape [1]."""

    name: str
    default: Any = None  # the checkpoint's own default goes before it; None: `default_is` says what it is
    default_is: str = ""
    stream_only: bool = False  # an input of `diffusion`, not of `text_to_image`
    datatype: ClassVar[str]  # Triton's name
    shape: ClassVar[tuple[int, ...]] = (1,)
    required: ClassVar[bool] = False

    def read(self, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint) -> Any:
        """The value in `tensors`, or the default. Raises InvalidRequest."""
        tensor = tensors.get(self.name)
        if tensor is None:
            return checkpoint.defaults.get(self.name, self.default)
        if tensor.size != 1:
            raise InvalidRequest(f"{self.name} has shape {list(tensor.shape)}: send one value, shape [1]")
        return self.check(tensor.item(), checkpoint)

    def check(self, value: Any, checkpoint: Checkpoint) -> Any:
        """`value` as the request holds it. Raises InvalidRequest."""
        raise NotImplementedError

    @property
    def allowed(self) -> str:
        """The values it takes, in a few words."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Field):
    """Text in UTF-8."""

    allowed_is: str = f"UTF-8, at most {MAX_TEXT_BYTES} bytes"
    datatype: ClassVar[str] = "STRING"

    def check(self, value: Any, checkpoint: Checkpoint) -> Any:
        if len(value) > MAX_TEXT_BYTES:
            raise InvalidRequest(f"{self.name} has {len(value)} bytes: use at most {MAX_TEXT_BYTES}")
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = value[error.start]
            raise InvalidRequest(f"{self.name} has byte 0x{byte:02x} at {error.start}: send valid UTF-8") from error

    @property
    def allowed(self) -> str:
        return self.allowed_is


@dataclass(frozen=True)
class Prompt(Text):
    """Text that must be there, and not be blank."""

    required: ClassVar[bool] = True

    def read(self, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint) -> Any:
        prompt = super().read(tensors, checkpoint) or ""
        if not prompt.strip():
            raise InvalidRequest(f"{self.name} is empty: say what the image shows")
        return prompt


@dataclass(frozen=True)
class Choice(Text):
    """One of a few names."""

    values: Mapping[str, Any] | None = None  # what each name stands for

    def check(self, value: Any, checkpoint: Checkpoint) -> Any:
        name = super().check(value, checkpoint)
        if name not in (self.values or {}):
            raise InvalidRequest(f"{self.name} is {reprlib.repr(name)}: use {self.allowed}")
        return name

    @property
    def allowed(self) -> str:
        return ", ".join(self.values or {})


@dataclass(frozen=True)
class Integer(Field):
    """A whole number from `low` to `high`."""

    low: int = 0
    high: int = 0
    datatype: ClassVar[str] = "INT32"

    def check(self, value: Any, checkpoint: Checkpoint) -> Any:
        if not self.low <= value <= self.high:
            raise InvalidRequest(f"{self.name} is {value}: use {self.allowed}")
        return value

    @property
    def allowed(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class LongInteger(Integer):
    """A whole number of 64 bits."""

    datatype: ClassVar[str] = "INT64"


@dataclass(frozen=True)
class Number(Field):
    """A finite number from `low` to `high`."""

    low: float = 0.0
    high: float = 1.0
    datatype: ClassVar[str] = "FP32"

    def check(self, value: Any, checkpoint: Checkpoint) -> Any:
        if not (math.isfinite(value) and self.low <= value <= self.high):
            raise InvalidRequest(f"{self.name} is {np.float32(value)!s}: use a number from {self.allowed}")
        return value

    @property
    def allowed(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Pixels(Field):
    """A side of the image, within what the networks were exported for."""

    datatype: ClassVar[str] = "INT32"

    def read(self, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint) -> Any:
        pixels = super().read(tensors, checkpoint)
        return getattr(checkpoint, self.name) if pixels is None else pixels

    def check(self, value: Any, checkpoint: Checkpoint) -> Any:
        low, high = getattr(checkpoint, f"{self.name}_range")
        multiple = checkpoint.vae_factor
        if not low <= value <= high or value % multiple:
            choice = f"{low}" if low == high else f"a multiple of {multiple} from {low} to {high}"
            raise InvalidRequest(f"{self.name} is {value}: this server's engines take {choice}")
        return value

    @property
    def allowed(self) -> str:
        return "what the engines were exported for"
