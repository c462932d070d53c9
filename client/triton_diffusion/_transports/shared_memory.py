"""Shared memory of client and server: images come through it, and not over the connection, on one host.

The client makes a region and registers it with the server, which writes the `image` of a response into it. A region is
used by one call at a time, and after it by others. Measured: an image of 1024x1024 comes in 10 ms and not in 25, one
of 128x128 no sooner.
"""

import base64
import secrets
import threading
import time
import warnings
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._errors import DiffusionError, ServerUnavailable

SharedMemory: TypeAlias = Literal["system", "cuda"]

QUARANTINE = 60.0  # seconds


class Region:
    """Memory of `size` bytes: the host's, or that of its first GPU."""

    def __init__(self, kind: SharedMemory, size: int) -> None:
        self.kind = kind
        self.size = size
        self.name = f"triton-diffusion-{secrets.token_hex(8)}"
        self.key: dict[str, Any]  # how the server finds it
        self._memory: Any
        if kind == "cuda":
            from tritonclient.utils import cuda_shared_memory

            self._memory = cuda_shared_memory
            self._handle = cuda_shared_memory.create_shared_memory_region(self.name, size, 0)
            raw_handle = base64.b64decode(cuda_shared_memory.get_raw_handle(self._handle))
            self.key = {"raw_handle": raw_handle, "device_id": 0}
        else:
            from tritonclient.utils import shared_memory

            self._memory = shared_memory
            self._handle = shared_memory.create_shared_memory_region(self.name, self.name, size)
            self.key = {"key": f"/{self.name}"}

    def read(self, shape: list[int]) -> NDArray[np.uint8]:
        """A copy of the UINT8 [N,H,W,3] that the server wrote."""
        return np.array(self._memory.get_contents_as_numpy(self._handle, np.uint8, shape))

    def close(self) -> None:
        self._memory.destroy_shared_memory_region(self._handle)


class Regions:
    """The regions of one server. Safe for several threads."""

    def __init__(self, kind: SharedMemory | None) -> None:
        self._kind = kind  # None where memory is not shared
        self._idle: list[tuple[float, Region]] = []  # since when, time.monotonic()
        self._all: list[Region] = []
        self._lock = threading.Lock()

    def lend(self, size: int | None) -> "Loan":
        """A region of at least `size` bytes, or none, for one call."""
        with self._lock:
            if self._kind is None or size is None:
                return Loan(self, None, registered=False)
            for since, region in self._idle:
                if region.size >= size and since <= time.monotonic():
                    self._idle.remove((since, region))
                    return Loan(self, region, registered=True)
            region = Region(self._kind, size)
            self._all.append(region)
            return Loan(self, region, registered=False)

    def returned(self, region: Region, error: BaseException | None) -> None:
        with self._lock:
            if isinstance(error, ServerUnavailable):  # a server that starts again knows of no region
                self._idle.clear()
            else:
                # After a call that was cut short the server may still write into it.
                self._idle.append((time.monotonic() + (0 if error is None else QUARANTINE), region))

    def refused(self, region: Region, error: DiffusionError) -> None:
        warnings.warn(f"memory is not shared with the server: {error}", stacklevel=2)
        with self._lock:
            self._kind = None
            self._all.remove(region)
        region.close()

    def close(self) -> list[Region]:
        """Take every region out of use; the caller makes the server forget them and closes them."""
        with self._lock:
            self._kind = None
            regions, self._all, self._idle = self._all, [], []
        return regions


class Loan:
    """A region for one call, a context manager around it."""

    def __init__(self, regions: Regions, region: Region | None, registered: bool) -> None:
        self.region = region
        self.registered = registered
        self._regions = regions

    def refused(self, error: DiffusionError) -> None:
        """The server cannot use the region, and so no other: do without."""
        if self.region is not None:
            self._regions.refused(self.region, error)
            self.region = None

    def __enter__(self) -> "Loan":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.region is not None:
            self._regions.returned(self.region, error)
