"""Mixed precision: FP16 weights and activations, with FP32 where half precision would show.

What lies between an input or an output and the nearest matrix product stays FP32: the sines of the timestep, the
scaling of a latent, the last layer norm of the text encoder, the decoder's way from its last convolution to bytes.
Normalisations keep their statistics in FP32 by their own `stash_type`, which a strongly typed TensorRT network obeys
too. Inputs and outputs keep their types, so the sampling loop does not see the precision.

ModelOpt's AutoCast 0.47 was tried on the shipped checkpoint: it halves the sines too, the text encoder errs by 6.0e-4
of its scale against 3.4e-4 here, and ONNX Runtime refuses the denoiser, whose shapes come out wrong.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import numpy_helper

MATRIX_PRODUCTS = ("Conv", "MatMul", "Gemm")
ALWAYS_FP32 = {("Resize", 2)}
"""(operator, operand) whose type ONNX fixes: the factors of a resize."""
FLOATS = (np.float16, np.float32)
LARGEST = np.finfo(np.float16).max


def to_half(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """`model` with FP16 inside; weights that lie in a file are read from `folder`, one at a time."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    graph = gs.import_onnx(model).toposort()
    fp32 = {id(node) for island in (prologue(graph), epilogue(graph)) for node in island}
    converted: dict[str, gs.Tensor] = {}

    def convert(tensor: gs.Tensor, dtype: type[np.floating]) -> gs.Tensor:
        """`tensor` as `dtype`, the same one for all that ask."""
        name = f"{tensor.name}_{dtype.__name__}"
        if name not in converted:
            if isinstance(tensor, gs.Constant):
                converted[name] = gs.Constant(name, half_weights(tensor, stored.get(tensor.name), folder))
            else:
                converted[name] = gs.Variable(name, dtype, tensor.shape)
                cast(graph, tensor, converted[name])
        return converted[name]

    for node in list(graph.nodes):
        dtype = np.float32 if id(node) in fp32 else np.float16
        for operand, tensor in enumerate(node.inputs):
            if tensor.dtype in FLOATS and tensor.dtype != dtype and (node.op, operand) not in ALWAYS_FP32:
                node.inputs[operand] = convert(tensor, dtype)
        for tensor in node.outputs:
            if tensor.dtype in FLOATS:
                tensor.dtype = np.dtype(dtype)
    restore_outputs(graph)
    return gs.export_onnx(graph.cleanup().toposort())


def prologue(graph: gs.Graph) -> Iterator[gs.Node]:
    """The nodes that see numbers of the inputs only, up to the first matrix product on each way."""
    early = {id(tensor) for tensor in graph.inputs if tensor.dtype == np.float32}
    for node in graph.nodes:
        sources = _variables(node.inputs)
        if sources and node.op not in MATRIX_PRODUCTS and all(id(tensor) in early for tensor in sources):
            early.update(id(tensor) for tensor in node.outputs)
            yield node


def epilogue(graph: gs.Graph) -> Iterator[gs.Node]:
    """The nodes that only lead on to outputs, back to where ways join or the last matrix product."""
    late: set[int] = set()
    for node in reversed(graph.nodes):
        users = [user for tensor in node.outputs for user in tensor.outputs]
        on_the_way = all(id(user) in late and len(_variables(user.inputs)) == 1 for user in users)
        if on_the_way and node.op not in MATRIX_PRODUCTS:
            late.add(id(node))
            yield node


def half_weights(constant: gs.Constant, stored: onnx.TensorProto | None, folder: Path) -> np.ndarray:
    """The values of `constant` in FP16; a mask's infinity becomes the largest number."""
    values = constant.values if stored is None else numpy_helper.to_array(stored, str(folder))
    return np.asarray(values.clip(-LARGEST, LARGEST), np.float16)


def cast(graph: gs.Graph, source: gs.Tensor, target: gs.Variable) -> None:
    """Add the node that makes `target` from `source`."""
    to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(target.dtype))
    graph.nodes.append(gs.Node("Cast", inputs=[source], outputs=[target], attrs={"to": to}))


def restore_outputs(graph: gs.Graph) -> None:
    """Cast outputs back to the FP32 of the interface, where they were computed in FP16."""
    for output in graph.outputs:
        if output.dtype == np.float16:
            half = gs.Variable(f"{output.name}_float16", np.float16, output.shape)
            for user in list(output.outputs):
                user.inputs = [half if tensor is output else tensor for tensor in user.inputs]
            (producer,) = output.inputs
            producer.outputs = [half if tensor is output else tensor for tensor in producer.outputs]
            output.dtype = np.dtype(np.float32)
            cast(graph, half, output)


def _variables(tensors: list[gs.Tensor]) -> list[gs.Variable]:
    return [tensor for tensor in tensors if isinstance(tensor, gs.Variable)]
