"""TensorRT plans through TensorRT's own Python runtime, with or without CUDA graphs. Needs a GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.ladder.engines.engine import Engine, device, installed
from benchmarks.ladder.engines.loop import Loop
from benchmarks.ladder.workspace import Workspace

DTYPES = {"FLOAT": torch.float32, "INT32": torch.int32, "UINT8": torch.uint8}
"""PyTorch's types by TensorRT's names: those that the graphs' outputs have."""


@dataclass(frozen=True)
class TensorRTEngine(Engine):
    """The plans that `--runtime tensorrt` builds on this machine."""

    precision: str = "fp16"
    cuda_graphs: bool = False  # replay each call as one CUDA graph

    @property
    def name(self) -> str:
        return "tensorrt-graphs" if self.cuda_graphs else "tensorrt"

    def missing(self, workspace: Workspace) -> str | None:
        if device() != "cuda":
            return "no GPU on this machine"
        if not installed("tensorrt"):
            return "TensorRT is not installed"
        return None

    @property
    def exported(self) -> str:
        return "tensorrt"

    def open(self, workspace: Workspace) -> Loop:
        repository = workspace.repository("tensorrt")
        networks = {name: Plan(repository / name / "1/model.plan", self.cuda_graphs) for name in workspace.networks()}
        return Loop(workspace.repository(), networks)


class Plan:
    """A plan as a network. Its tensors on the GPU stay in place, one set a combination of input shapes."""

    def __init__(self, path: Path, graphs: bool) -> None:
        import tensorrt

        self._engine = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR)).deserialize_cuda_engine(
            path.read_bytes()
        )
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        self._outputs = [name for name in names if self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.OUTPUT]
        self._graphs = graphs
        self._stream = torch.cuda.Stream()
        self._calls: dict[tuple, tuple[dict[str, torch.Tensor], Callable[[], object]]] = {}

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        shapes = tuple((name, array.shape) for name, array in sorted(inputs.items()))
        if shapes not in self._calls:
            self._calls[shapes] = self._bind(inputs)
        tensors, run = self._calls[shapes]
        with torch.cuda.stream(self._stream):
            for name, array in inputs.items():
                tensors[name].copy_(torch.from_numpy(array))
            run()
            return {name: tensors[name].cpu().numpy() for name in self._outputs}

    def _bind(self, inputs: dict[str, np.ndarray]) -> tuple[dict[str, torch.Tensor], Callable[[], object]]:
        """Tensors for inputs of these shapes and for the outputs, and what computes the latter from the former."""
        context = self._engine.create_execution_context()
        tensors = {name: torch.from_numpy(array).cuda() for name, array in inputs.items()}
        for name, tensor in tensors.items():
            context.set_input_shape(name, tuple(tensor.shape))
        for name in self._outputs:
            dtype = DTYPES[self._engine.get_tensor_dtype(name).name]
            tensors[name] = torch.empty(tuple(context.get_tensor_shape(name)), dtype=dtype, device="cuda")
        for name, tensor in tensors.items():
            context.set_tensor_address(name, tensor.data_ptr())

        def run() -> None:
            if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise RuntimeError("TensorRT could not run the plan: see its message above")

        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            run()  # what TensorRT sets up in a first call must not be captured
        if not self._graphs:
            return tensors, run
        graph = torch.cuda.CUDAGraph()
        self._stream.synchronize()
        with torch.cuda.graph(graph, stream=self._stream):
            run()
        return tensors, graph.replay
