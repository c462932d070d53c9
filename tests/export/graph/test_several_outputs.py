"""A network with two inputs and two outputs, of which one is made from the other, goes the way of all networks."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from export.errors import GateError
from export.graph.gate import check_graph, random_inputs
from export.graph.graphs import write_graph
from export.runtime import Precision
from export.specification import Network, Tensor

NETWORK = Network(
    "text_encoder",
    inputs=(Tensor("input_ids", "INT32", (7,), below=50), Tensor("input_ids_2", "INT32", (7,), below=50)),
    outputs=(Tensor("pooled", "FP32", (4,)), Tensor("context", "FP32", (7, 16))),
    max_batch=4,
    usual_batch=2,
    graph_batches=(1,),
    compile_batches=(1,),
)


class TwoEncoders(nn.Module):
    """As large checkpoints have it: the width of the context is shared out, one pooled vector comes from it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.tokens_2 = nn.Embedding(50, 8), nn.Embedding(50, 8)
        self.mix, self.norm, self.project = nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, input_ids: torch.Tensor, input_ids_2: torch.Tensor) -> dict[str, torch.Tensor]:
        context = self.norm(self.mix(torch.cat([self.tokens(input_ids), self.tokens_2(input_ids_2)], dim=-1)))
        return {"pooled": self.project(context[:, -1]), "context": context}


class WrongPooled(TwoEncoders):
    """The second output is right, the first is not."""

    def forward(self, input_ids: torch.Tensor, input_ids_2: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = super().forward(input_ids, input_ids_2)
        return {**outputs, "pooled": 1.001 * outputs["pooled"]}


class ReadsItsOutput(TwoEncoders):
    """The context comes straight from a product, so that it is computed in half precision, and is read again."""

    def forward(self, input_ids: torch.Tensor, input_ids_2: torch.Tensor) -> dict[str, torch.Tensor]:
        context = self.mix(torch.cat([self.tokens(input_ids), self.tokens_2(input_ids_2)], dim=-1))
        return {"pooled": self.project(self.norm(context)[:, -1]), "context": context}


@pytest.mark.parametrize("module", [TwoEncoders(), ReadsItsOutput()])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_graph(module: nn.Module, precision: Precision, tmp_path: Path) -> None:
    path = write_graph(NETWORK, module.eval(), tmp_path, precision)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path)
    assert [tensor.name for tensor in session.get_inputs()] == ["input_ids", "input_ids_2"]
    assert [(tensor.name, tensor.type) for tensor in session.get_outputs()] == [
        ("pooled", "tensor(float)"),
        ("context", "tensor(float)"),
    ]
    check_graph(NETWORK, path, module, precision)
    (*_, feed) = random_inputs(NETWORK)
    pooled, context = session.run(None, feed)
    assert (pooled.shape, context.shape) == ((3, 4), (3, 7, 16))
    assert pooled.dtype == context.dtype == np.float32


def test_every_output_is_compared(tmp_path: Path) -> None:
    path = write_graph(NETWORK, WrongPooled().eval(), tmp_path)
    with pytest.raises(GateError, match="text_encoder: pooled"):
        check_graph(NETWORK, path, TwoEncoders().eval())
