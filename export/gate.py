"""The gate every graph must pass: Polygraphy runs ONNX Runtime and PyTorch on the same random inputs.

Pictures must agree to `MIN_PSNR`, every other output to `MAX_ERROR` of its own scale, at batches of one, two and three
rows, and where the size varies at a different size each.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from polygraphy.backend.base import BaseRunner
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.common import TensorMetadata
from polygraphy.comparator import Comparator
from polygraphy.logger import G_LOGGER

from export.errors import GateError
from export.specification import Axis, Model, Tensor

MAX_ERROR = 1e-4
"""Largest absolute error over the reference's largest absolute value."""
MIN_PSNR = 50.0
"""Decibels, of uint8 pictures."""
BATCHES = (1, 2, 3)


class TorchRunner(BaseRunner):
    """The reference: a torch module on the CPU behind Polygraphy's runner interface."""

    def __init__(self, model: Model, module: torch.nn.Module) -> None:
        super().__init__(name="PyTorch")
        self.model, self.module = model, module

    def get_input_metadata_impl(self) -> TensorMetadata:
        metadata = TensorMetadata()
        for tensor in self.model.inputs:
            shape = [None if isinstance(size, Axis) else size for size in tensor.shape]
            metadata.add(tensor.name, {"FP32": np.float32, "INT32": np.int32}[tensor.dtype], [None, *shape])
        return metadata

    def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        start = time.perf_counter()
        with torch.no_grad():
            output = self.module(*(torch.from_numpy(feed_dict[tensor.name]) for tensor in self.model.inputs))
        self.inference_time = time.perf_counter() - start
        return OrderedDict([(self.model.outputs[0].name, output.numpy())])


def check_graph(model: Model, path: Path, module: torch.nn.Module, below: dict[str, int]) -> None:
    """Raise GateError unless the graph at `path` computes what `module` does.

    `below` bounds the random integers and timesteps: {"input_ids": vocabulary size, "timestep": training steps}.
    """
    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        runners = [TorchRunner(model, module), OnnxrtRunner(SessionFromOnnx(str(path)), name="ONNX Runtime")]
        results = Comparator.run(runners, data_loader=list(random_inputs(model, below)))
    for reference, measured in zip(*(iterations for _, iterations in results.items())):
        for name in reference:
            check_output(f"{model.name}: {name}", reference[name], measured[name])


def random_inputs(model: Model, below: dict[str, int], seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """One feed for each of `BATCHES`: the smallest size first, then others, some of which do not halve evenly."""
    rng = np.random.default_rng(seed)
    for step, batch in enumerate(BATCHES):
        yield {tensor.name: _random(rng, tensor, batch, step, below.get(tensor.name)) for tensor in model.inputs}


def _random(rng: np.random.Generator, tensor: Tensor, batch: int, step: int, below: int | None) -> np.ndarray:
    shape: list[Any] = [
        min(size.sizes.min + step * (1 + i % 2), size.sizes.max) if isinstance(size, Axis) else size
        for i, size in enumerate(tensor.shape)
    ]
    if below is not None:
        values = rng.integers(below, size=(batch, *shape))
        return values.astype(np.int32 if tensor.dtype == "INT32" else np.float32)
    return rng.standard_normal((batch, *shape), dtype=np.float32)


def check_output(what: str, reference: np.ndarray, measured: np.ndarray) -> None:
    """Raise GateError unless `measured` is close enough to `reference` in shape, dtype and values."""
    if (measured.shape, measured.dtype) != (reference.shape, reference.dtype):
        raise GateError(
            f"{what} is {measured.dtype} {measured.shape} in the graph and {reference.dtype} {reference.shape} in"
            " PyTorch: the export is wrong; nothing was written"
        )
    if measured.dtype == np.uint8:
        found, allowed = psnr(reference, measured), f"at least {MIN_PSNR:g} dB"
        passed, unit = found >= MIN_PSNR, "dB PSNR"
    else:
        found, allowed = relative_error(reference, measured), f"at most {MAX_ERROR:g}"
        passed, unit = found <= MAX_ERROR, "of its scale in error"  # false for NaN
    if not passed:
        raise GateError(
            f"{what} (batch {len(measured)}) differs from PyTorch: measured {found:.3g} {unit}, allowed {allowed}:"
            " the export is wrong; nothing was written"
        )


def relative_error(reference: np.ndarray, measured: np.ndarray) -> float:
    """The largest absolute error over the largest absolute value of the reference."""
    return float(np.abs(measured - reference).max() / np.abs(reference).max())


def psnr(reference: np.ndarray, measured: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures, in decibels."""
    mean_square = np.mean((measured.astype(np.float64) - reference) ** 2)
    return math.inf if mean_square == 0 else 10 * math.log10(255**2 / mean_square)
