"""ONNX Runtime with the exported graphs."""

from dataclasses import dataclass

import onnxruntime

from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.engines.loop import Loop
from benchmarks.ladder.workspace import Workspace
from export.in_process import CPU, open_graph


@dataclass(frozen=True)
class OnnxEngine(Engine):
    """The exported graphs by ONNX Runtime, on the GPU where there is one."""

    @property
    def name(self) -> str:
        return "onnxruntime" if self.precision == "fp32" else f"onnxruntime-{self.precision}"

    def missing(self, workspace: Workspace) -> str | None:
        if self._provider() not in onnxruntime.get_available_providers():
            return "ONNX Runtime is installed without CUDA"
        return None

    @property
    def exported(self) -> str:
        return self.precision

    def open(self, workspace: Workspace) -> Loop:
        repository = workspace.repository(self.precision)
        networks = {
            name: open_graph(repository, name, workspace.threads, self._provider()) for name in workspace.networks()
        }
        return Loop(workspace.repository(), networks)

    def _provider(self) -> str:
        return "CUDAExecutionProvider" if device() == "cuda" else CPU
