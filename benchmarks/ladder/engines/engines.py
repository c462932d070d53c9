"""What can compute a checkpoint's three networks, and whether this machine has what it takes."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch

from benchmarks.ladder.engines.loop import Loop, Networks
from benchmarks.ladder.workspace import Workspace


@dataclass(frozen=True)
class Engine(ABC):
    """One way to compute the networks. Engines are small and picklable; the weights come with `open`."""

    precision: str = "fp32"  # or bf16, fp16: of the UNet's matrix products

    @property
    @abstractmethod
    def name(self) -> str:
        """Tells apart all engines whose pictures may differ; also a folder's name."""

    def missing(self, workspace: Workspace) -> str | None:
        """Why this machine cannot run it, in a few words; None where it can."""
        return None

    @property
    def exported(self) -> str | None:
        """The kind of export that `open` reads; None where it reads the checkpoint."""
        return None

    @abstractmethod
    def open(self, workspace: Workspace) -> Loop:
        """The loop around the networks, weights loaded."""


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
        return Loop(workspace.repository(), Networks.named(lambda name: self._session(workspace, name)))

    def _session(self, workspace: Workspace, name: str) -> Callable[..., np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = workspace.threads
        path = workspace.repository(self.precision) / name / "1/model.onnx"
        session = onnxruntime.InferenceSession(path, options, providers=[self._provider()])
        return lambda **inputs: session.run(None, inputs)[0]

    def _provider(self) -> str:
        return "CUDAExecutionProvider" if device() == "cuda" else "CPUExecutionProvider"


def device() -> str:
    """Where PyTorch runs: `cuda` or `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def installed(module: str) -> bool:
    """Whether `module` could be imported."""
    return importlib.util.find_spec(module) is not None
