"""The `model.onnx` beside this file, opened with ONNX Runtime: on the GPU where it has CUDA, else on the CPU."""

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import

import numpy as np
import onnxruntime

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


def open_network() -> Callable[..., dict[str, np.ndarray]]:
    """The graph as a function of arrays by name; each is a batch. Calls do not hold Python's lock."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("TRITON_DIFFUSION_THREADS", "0"))  # 0: one a core
    # They spin while their network is called, which makes a small denoiser's call a quarter shorter,
    # and never on after it, when another network, or Triton, wants the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    available = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(
        Path(__file__).with_name("model.onnx"),
        options,
        providers=[provider for provider in PROVIDERS if provider in available],
    )
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(names, inputs)))
