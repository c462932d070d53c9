"""Turns a torch module into an ONNX graph with the interface of the model specification."""

import logging
import warnings
from pathlib import Path

import onnx
import torch

from export.edits import edit
from export.specification import Axis, Model, Tensor

OPSET = 20
"""Has Gelu; from 21 on GroupNorm becomes GroupNormalization, which ONNX Runtime takes apart into slower pieces."""

SINGLE_FILE_LIMIT = 2_000_000_000
"""Bytes of weights past which they go to a file of their own: protobuf ends at 2 GiB."""

TORCH_DTYPES = {"FP32": torch.float32, "INT32": torch.int32}


def write_graph(model: Model, module: torch.nn.Module, folder: Path) -> Path:
    """Export `module` as `model` to `folder`/model.onnx (and model.onnx.data past 2 GB); returns the graph's path."""
    path = folder / "model.onnx"
    weights = folder / "model.onnx.data"
    _export(model, module).save(path, external_data=True)
    # The weights stay in their file while the graph is edited, so that this costs no second copy in memory.
    graph = edit(onnx.load(path, load_external_data=False))
    if weights.exists() and weights.stat().st_size <= SINGLE_FILE_LIMIT:
        onnx.load_external_data_for_model(graph, str(folder))
        weights.unlink()
    onnx.save(graph, path)
    return path


def _export(model: Model, module: torch.nn.Module) -> torch.onnx.ONNXProgram:
    batch = torch.export.Dim("batch", min=1, max=model.max_batch)
    dimensions = {
        axis.name: torch.export.Dim(axis.name, min=axis.sizes.min, max=axis.sizes.max) for axis in axes(model)
    }
    shapes = {
        tensor.name: {0: batch} | {i: dimensions[a.name] for i, a in enumerate(tensor.shape, 1) if isinstance(a, Axis)}
        for tensor in model.inputs
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about the exporter's own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        logging.getLogger("torch.utils._sympy").setLevel(logging.CRITICAL)
        program = torch.onnx.export(
            module,
            tuple(_example(tensor) for tensor in model.inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in model.inputs],
            output_names=[tensor.name for tensor in model.outputs],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    return program


def axes(model: Model) -> list[Axis]:
    """The axes of `model`'s inputs that vary beside the batch."""
    return [axis for tensor in model.inputs for axis in tensor.shape if isinstance(axis, Axis)]


def _example(tensor: Tensor) -> torch.Tensor:
    """Two rows of zeros at the smallest size: torch.export takes a batch of one for a constant."""
    shape = [axis.sizes.min if isinstance(axis, Axis) else axis for axis in tensor.shape]
    return torch.zeros(2, *shape, dtype=TORCH_DTYPES[tensor.dtype])
