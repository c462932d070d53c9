"""ONNX Runtime with the exported graphs."""

import os
from dataclasses import dataclass

import onnxruntime
from networks.in_process import open_networks

from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.engines.loop import Loop
from benchmarks.ladder.workspace import Workspace


@dataclass(frozen=True)
class OnnxEngine(Engine):
    """The exported graphs by ONNX Runtime, on the GPU where there is one."""

    @property
    def name(self) -> str:
        return "onnxruntime" if self.precision == "fp32" else f"onnxruntime-{self.precision}"

    def missing(self, workspace: Workspace) -> str | None:
        if device() == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return "ONNX Runtime is installed without CUDA"
        return None

    @property
    def exported(self) -> str:
        return self.precision

    def open(self, workspace: Workspace) -> Loop:
        os.environ["TRITON_DIFFUSION_THREADS"] = str(workspace.threads)  # which the networks read
        networks = open_networks(workspace.repository(self.precision), workspace.networks())
        return Loop(workspace.repository(), networks)
