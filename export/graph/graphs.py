"""ONNX graphs of torch modules, with the interfaces of the specification."""

import logging
import warnings
from pathlib import Path

import onnx
import torch

from export.graph.edits import edit
from export.graph.precision import to_half
from export.runtime import Precision
from export.specification import Axis, Network, Tensor

OPSETS = {Precision.FP32: 20, Precision.FP16: 21}
"""20 has Gelu; from 21 on GroupNorm becomes GroupNormalization, which TensorRT has a kernel for, while ONNX Runtime
takes it apart into slower pieces."""

SINGLE_FILE_LIMIT = 2_000_000_000
"""Bytes of weights past which they go to a file of their own: protobuf ends at 2 GiB."""

TORCH_DTYPES = {"FP32": torch.float32, "INT32": torch.int32}


def write_graph(network: Network, module: torch.nn.Module, folder: Path, precision: Precision = Precision.FP32) -> Path:
    """Export `module` as `network` to `folder`/model.onnx (and model.onnx.data past 2 GB); returns the graph's path."""
    path = folder / "model.onnx"
    weights = folder / "model.onnx.data"
    _export(network, module, OPSETS[precision]).save(path, external_data=True)
    # The weights stay in their file while the graph is edited, so that this costs no second copy in memory.
    graph = edit(onnx.load(path, load_external_data=False))
    if precision is Precision.FP16:
        graph = to_half(graph, folder)
    if weights.exists() and (precision is Precision.FP16 or weights.stat().st_size <= SINGLE_FILE_LIMIT):
        onnx.load_external_data_for_model(graph, str(folder))
        weights.unlink()
    onnx.save(graph, path)
    return path


def _export(network: Network, module: torch.nn.Module, opset: int) -> torch.onnx.ONNXProgram:
    batch = torch.export.Dim("batch", min=1, max=network.max_batch)
    dimensions = {
        axis.name: torch.export.Dim(axis.name, min=axis.sizes.min, max=axis.sizes.max) for axis in network.axes
    }
    shapes = {
        tensor.name: {0: batch} | {i: dimensions[a.name] for i, a in enumerate(tensor.shape, 1) if isinstance(a, Axis)}
        for tensor in network.inputs
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about the exporter's own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        logging.getLogger("torch.utils._sympy").setLevel(logging.CRITICAL)
        program = torch.onnx.export(
            module,
            tuple(_example(tensor) for tensor in network.inputs),
            dynamo=True,
            opset_version=opset,
            input_names=[tensor.name for tensor in network.inputs],
            output_names=[tensor.name for tensor in network.outputs],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    return program


def _example(tensor: Tensor) -> torch.Tensor:
    """Two rows of zeros at the smallest size: torch.export takes a batch of one for a constant."""
    shape = [axis.sizes.min if isinstance(axis, Axis) else axis for axis in tensor.shape]
    return torch.zeros(2, *shape, dtype=TORCH_DTYPES[tensor.dtype])
