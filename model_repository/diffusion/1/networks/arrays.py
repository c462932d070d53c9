"""The arrays that networks take and return: of which library they are, and on which device."""

import time
from typing import Any, Protocol, TypeAlias

import array_api_compat.numpy
import numpy as np

Array: TypeAlias = Any
"""An array of a library with the array API (data-apis.org/array-api): NumPy's, PyTorch's, CuPy's."""


class Mark(Protocol):
    """A place in the work that a device was given."""

    def wait(self) -> None:
        """Return once the device has come to it. Raises what went wrong on the way."""

    def since(self, earlier: Any) -> float:
        """Seconds that the device took from another mark, both of which it has come to."""


class Arrays(Protocol):
    """A library and a device. Work is given to the device in order, and goes on while the host does something else."""

    @property
    def xp(self) -> Any:
        """The library's functions, named as in the array API."""

    @property
    def ahead(self) -> int:
        """Steps that the device may have been given beyond that which the host waits for."""

    def put(self, array: np.ndarray) -> Array:
        """`array` on the device; it may be changed then, but where the device is the host."""

    def get(self, array: Array) -> np.ndarray:
        """`array` on the host, once the device has computed it."""

    def mark(self) -> Mark:
        """Mark the end of what the device has been given."""


class Moment:
    """A mark of the host, which does things at once."""

    def __init__(self) -> None:
        self._time = time.perf_counter()

    def wait(self) -> None: ...

    def since(self, earlier: "Moment") -> float:
        return self._time - earlier._time


class HostArrays:
    """NumPy's arrays."""

    xp = array_api_compat.numpy
    ahead = 0

    def put(self, array: np.ndarray) -> np.ndarray:
        return array

    def get(self, array: np.ndarray) -> np.ndarray:
        return array

    def mark(self) -> Moment:
        return Moment()


HOST = HostArrays()
