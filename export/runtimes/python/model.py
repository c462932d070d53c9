"""Triton Python model that runs the `model.onnx` beside it with ONNX Runtime."""

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One session on the CPU. A request is already a batch, so nothing is gathered here."""

    def initialize(self, args):
        # Threads spin, as is ONNX Runtime's default: that makes the call of a small denoiser a quarter shorter.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("TRITON_DIFFUSION_THREADS", "0"))
        path = Path(__file__).with_name("model.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            # as_numpy is a view of the shared memory the request came in.
            feed = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            outputs = zip(self.names, self.session.run(self.names, feed))
            return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs])
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))
