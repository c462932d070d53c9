"""ONNX Runtime with the exported graphs."""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.engines.loop import Loop, Network
from benchmarks.ladder.workspace import Workspace


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
        networks = {name: self._network(workspace, name) for name in workspace.networks()}
        return Loop(workspace.repository(), networks)

    def _network(self, workspace: Workspace, name: str) -> Network:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = workspace.threads
        path = workspace.repository(self.precision) / name / "1/model.onnx"
        session = onnxruntime.InferenceSession(path, options, providers=[self._provider()])
        outputs = [output.name for output in session.get_outputs()]

        def network(**inputs: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip(outputs, session.run(outputs, inputs)))

        return network

    def _provider(self) -> str:
        return "CUDAExecutionProvider" if device() == "cuda" else "CPUExecutionProvider"
