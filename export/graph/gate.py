"""The gate every graph must pass: Polygraphy runs ONNX Runtime and PyTorch on the same random inputs.

Every output must keep within `LIMITS` at batches of one, two and three rows, and where the size varies at a different
size each; in half precision also for inputs ten times the normal scale, where it would overflow first.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from polygraphy.backend.base import BaseRunner
from polygraphy.backend.onnxrt import OnnxrtRunner
from polygraphy.common import TensorMetadata
from polygraphy.comparator import Comparator
from polygraphy.logger import G_LOGGER

from export.errors import GateError
from export.runtime import Precision
from export.specification import Axis, Network, Tensor


@dataclass(frozen=True)
class Limits:
    """Distance that a graph may have from PyTorch in FP32."""

    max_error: float  # largest absolute error over the reference's largest absolute value
    min_psnr: float  # decibels, of uint8 images
    scales: tuple[float, ...]  # of the random inputs


LIMITS = {
    Precision.FP32: Limits(max_error=1e-4, min_psnr=50, scales=(1,)),
    Precision.FP16: Limits(max_error=5e-3, min_psnr=45, scales=(1, 10)),
    Precision.BF16: Limits(max_error=4e-2, min_psnr=40, scales=(1,)),  # has the range of FP32
}
BATCHES = (1, 2, 3)


class TorchRunner(BaseRunner):
    """The reference: a torch module on the CPU behind Polygraphy's runner interface."""

    def __init__(self, network: Network, module: torch.nn.Module) -> None:
        super().__init__(name="PyTorch")
        self.network, self.module = network, module

    def get_input_metadata_impl(self) -> TensorMetadata:
        metadata = TensorMetadata()
        for tensor in self.network.inputs:
            shape = [None if isinstance(size, Axis) else size for size in tensor.shape]
            metadata.add(tensor.name, {"FP32": np.float32, "INT32": np.int32}[tensor.dtype], [None, *shape])
        return metadata

    def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        start = time.perf_counter()
        with torch.no_grad():
            outputs = self.module(**{name: torch.from_numpy(array) for name, array in feed_dict.items()})
        self.inference_time = time.perf_counter() - start
        return OrderedDict((tensor.name, outputs[tensor.name].numpy()) for tensor in self.network.outputs)


def check_graph(network: Network, path: Path, module: torch.nn.Module, precision: Precision = Precision.FP32) -> None:
    """Raise GateError unless the graph at `path` computes in `precision` what `module` does in FP32."""
    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        runners = [TorchRunner(network, module), OnnxrtRunner(lambda: frugal_session(path), name="ONNX Runtime")]
        feeds = [feed for scale in LIMITS[precision].scales for feed in random_inputs(network, scale)]
        results = Comparator.run(runners, data_loader=feeds)
    for reference, measured in zip(*(iterations for _, iterations in results.items())):
        for name in reference:
            check_output(f"{network.name}: {name}", reference[name], measured[name], LIMITS[precision])


def frugal_session(path: Path) -> onnxruntime.InferenceSession:
    """A session that keeps nothing to be faster the next time: at full size that would take twice the memory."""
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def random_inputs(network: Network, scale: float = 1, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """One feed for each of `BATCHES`: the smallest size first, then others, some of which do not halve evenly.

    Normal numbers of standard deviation `scale`, but for the inputs of whole numbers.
    """
    rng = np.random.default_rng(seed)
    for step, batch in enumerate(BATCHES):
        yield {tensor.name: _random(rng, tensor, batch, step, scale) for tensor in network.inputs}


def _random(rng: np.random.Generator, tensor: Tensor, batch: int, step: int, scale: float) -> np.ndarray:
    shape: list[Any] = [
        min(size.sizes.min + step * (1 + i % 2), size.sizes.max) if isinstance(size, Axis) else size
        for i, size in enumerate(tensor.shape)
    ]
    if tensor.below is not None:
        values = rng.integers(tensor.below, size=(batch, *shape))
        return values.astype(np.int32 if tensor.dtype == "INT32" else np.float32)
    return np.float32(scale) * rng.standard_normal((batch, *shape), dtype=np.float32)


def check_output(what: str, reference: np.ndarray, measured: np.ndarray, limits: Limits) -> None:
    """Raise GateError unless `measured` is close enough to `reference` in shape, dtype and values."""
    if (measured.shape, measured.dtype) != (reference.shape, reference.dtype):
        raise GateError(
            f"{what} is {measured.dtype} {measured.shape} in the graph and {reference.dtype} {reference.shape} in"
            " PyTorch: the export is wrong; nothing was written"
        )
    if measured.dtype == np.uint8:
        found, allowed = psnr(reference, measured), f"at least {limits.min_psnr:g} dB"
        passed, unit = found >= limits.min_psnr, "dB PSNR"
    else:
        found, allowed = relative_error(reference, measured), f"at most {limits.max_error:g}"
        passed, unit = found <= limits.max_error, "of its scale in error"  # false for NaN
    if not passed:
        raise GateError(
            f"{what} (batch {len(measured)}) differs from PyTorch: measured {found:.3g} {unit}, allowed {allowed}:"
            " the export is wrong; nothing was written"
        )


def relative_error(reference: np.ndarray, measured: np.ndarray) -> float:
    """The largest absolute error over the largest absolute value of the reference."""
    return float(np.abs(measured - reference).max() / np.abs(reference).max())


def psnr(reference: np.ndarray, measured: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 images, in decibels."""
    mean_square = np.mean((measured.astype(np.float64) - reference) ** 2)
    return math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)
