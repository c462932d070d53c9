"""Triton Python model that runs the network beside it with ONNX Runtime."""

import triton_python_backend_utils as pb_utils
from network import open_network


class TritonPythonModel:
    """A request is already a batch, so nothing is gathered here."""

    def initialize(self, args):
        self.network = open_network()

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            # as_numpy is a view of the shared memory the request came in.
            outputs = self.network(**{tensor.name(): tensor.as_numpy() for tensor in request.inputs()})
            return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs.items()])
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))
