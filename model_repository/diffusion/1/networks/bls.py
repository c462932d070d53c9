"""Networks that are Triton models of their own, called by business logic scripting (BLS)."""

from collections.abc import Sequence

import numpy as np
import triton_python_backend_utils as pb_utils

from networks import NetworkError
from networks.arrays import HOST


class TritonNetwork:
    """A `Network` behind the Triton model of the same name."""

    arrays = HOST

    def __init__(self, name: str, outputs: Sequence[str]) -> None:
        """`outputs`: names of the tensors that a call returns."""
        self._name = name
        self._outputs = list(outputs)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name, on the host. Raises NetworkError."""
        request = pb_utils.InferenceRequest(
            model_name=self._name,
            requested_output_names=self._outputs,
            inputs=[pb_utils.Tensor(name, _with_an_axis(array)) for name, array in inputs.items()],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise NetworkError(f"{self._name}: {response.error().message()}")
        return {name: pb_utils.get_output_tensor_by_name(response, name).as_numpy() for name in self._outputs}


def _with_an_axis(array: np.ndarray) -> np.ndarray:
    """`array` with an axis beside the batch, which Triton insists on and takes away before the model sees it."""
    return array[:, None] if array.ndim == 1 else array
