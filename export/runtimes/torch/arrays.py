"""PyTorch's tensors as the arrays of the loop: where the engines are, from a request's start to its image."""

import array_api_compat.torch
import numpy as np
import torch
from networks.arrays import Moment


class TorchArrays:
    """`Arrays` of the loop, on `device`."""

    xp = array_api_compat.torch

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_host = device.type == "cpu"
        self.ahead = 0 if self._on_host else 1

    def put(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        # From pinned memory, which PyTorch keeps until it is read: to copy from any other waits for the device.
        return tensor if self._on_host else tensor.pin_memory().to(self._device, non_blocking=True)

    def get(self, array: torch.Tensor) -> np.ndarray:
        host: np.ndarray = array.cpu().numpy()
        return host

    def mark(self) -> "Moment | StreamMark":
        return Moment() if self._on_host else StreamMark()


class StreamMark:
    """A mark in a GPU's stream."""

    def __init__(self) -> None:
        # Who waits for it sleeps, as other threads of the host have work.
        self._event = torch.cuda.Event(enable_timing=True, blocking=True)
        self._event.record()

    def wait(self) -> None:
        self._event.synchronize()

    def since(self, earlier: "StreamMark") -> float:
        return earlier._event.elapsed_time(self._event) / 1000
