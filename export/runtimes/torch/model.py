"""Triton Python model that runs the network beside it with PyTorch."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One network, on the GPU where there is one. A request is already a batch, so nothing is gathered here."""

    def initialize(self, args):
        try:
            import torch
            from network import SETTINGS, compile_engine, open_engine

            device = f"cuda:{args['model_instance_device_id']}" if torch.cuda.is_available() else "cpu"
            self.inputs = list(SETTINGS["inputs"])
            self.engine = open_engine(torch.device(device))
            compile_engine(self.engine)
        except Exception as error:
            raise pb_utils.TritonModelException(str(error)) from error

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            inputs = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self.inputs}
            outputs = self.engine(**inputs)
            self.engine.wait()  # Triton reads them on a stream of its own
            return pb_utils.InferenceResponse(
                [pb_utils.Tensor.from_dlpack(name, output) for name, output in outputs.items()]
            )
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))
