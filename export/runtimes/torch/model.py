"""Triton Python model that runs the network beside it with PyTorch."""

import json
import locale
import os
from pathlib import Path

import triton_python_backend_utils as pb_utils

DTYPES = {"TYPE_FP32": "float32", "TYPE_INT32": "int32"}


class TritonPythonModel:
    """One network, on the GPU where there is one. A request is already a batch, so nothing is gathered here."""

    def initialize(self, args):
        # Triton's Python has the locale C, in which PyTorch cannot read its own templates.
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
        folder = Path(__file__).parent
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.inputs = [entry["name"] for entry in config["input"]]
        if os.access(folder, os.W_OK):  # else PyTorch takes its own temporary folder
            # What it compiles is there at the next start.
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "compiled"))
        try:
            import torch
            from engine import CompileError, Engine
            from modules import load_module
        except ImportError as error:
            raise pb_utils.TritonModelException(
                f"the torch runtime lacks a package in the server's Python ({error}):"
                " `pip install -r requirements/torch.txt` there"
            ) from error
        if threads := int(os.environ.get("TRITON_DIFFUSION_THREADS", "0")):
            torch.set_num_threads(threads)
        device = f"cuda:{args['model_instance_device_id']}" if torch.cuda.is_available() else "cpu"
        module = load_module(config["name"], folder / "weights", parameters["precision"])
        self.engine = Engine(module, torch.device(device))
        if "compile_batches" in parameters:
            latent_size = [int(side) for side in parameters["compile_latent_size"].split("x")]
            rows = {
                entry["name"]: torch.zeros(shape(entry, latent_size), dtype=getattr(torch, DTYPES[entry["data_type"]]))
                for entry in config["input"]
            }
            try:
                self.engine.compile(rows, [int(batch) for batch in parameters["compile_batches"].split(",")])
            except CompileError as error:
                raise pb_utils.TritonModelException(str(error)) from error

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        try:
            inputs = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self.inputs}
            outputs = self.engine(**inputs)
            return pb_utils.InferenceResponse(
                [pb_utils.Tensor.from_dlpack(name, output) for name, output in outputs.items()]
            )
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))


def shape(entry, latent_size):
    """Of one row of the input that `entry` of the configuration describes; a latent's varying sides are given."""
    sizes = [int(size) for size in entry.get("reshape", {"shape": entry["dims"]}).get("shape", [])]
    return [size if size > 0 else latent_size[axis - 1] for axis, size in enumerate(sizes)]
