"""The libraries and devices that the loop is tested on, here where there is no GPU."""

import array_api_strict
import numpy as np
import torch
from networks import Network
from networks.arrays import HOST, Array, Arrays, Moment

from export.runtimes.torch.arrays import TorchArrays


class StrictArrays:
    """Arrays on a device that NumPy cannot reach, of a library with nothing but the array API; runs one step ahead, as
    on a GPU."""

    xp = array_api_strict
    ahead = 1
    device = array_api_strict.Device("device1")

    def put(self, array: np.ndarray) -> Array:
        return array_api_strict.asarray(array, device=self.device, copy=True)

    def get(self, array: Array) -> np.ndarray:
        return np.asarray(array_api_strict.asarray(array, device=array_api_strict.Device("CPU_DEVICE")))

    def mark(self) -> Moment:
        return Moment()


ARRAYS: dict[str, Arrays] = {
    "numpy": HOST,
    "torch": TorchArrays(torch.device("cpu")),
    "array-api-strict": StrictArrays(),
}


def on_device(network: Network, arrays: Arrays) -> Network:
    """`network`, which computes with NumPy, as one of `arrays`."""

    def call(**inputs: Array) -> dict[str, Array]:
        outputs = network(**{name: arrays.get(array) for name, array in inputs.items()})
        return {name: arrays.put(output) for name, output in outputs.items()}

    return call
