"""Runtimes and precisions of exported networks."""

from enum import StrEnum


class Runtime(StrEnum):
    """The program that runs an exported network inside Triton."""

    PYTHON = "python"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"  # Triton has no backend for it: its plans are for programs of your own


class Precision(StrEnum):
    """The numbers that an exported network computes in. Its inputs and outputs are the same in all."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"  # the torch runtime only


USUAL_PRECISION = {Runtime.TENSORRT: Precision.FP16, Runtime.TENSORRT_RTX: Precision.FP16}
"""Of runtimes whose usual precision is not FP32."""
