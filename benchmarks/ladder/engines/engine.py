"""Engine: one way to compute a checkpoint's networks."""

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from benchmarks.ladder.engines.loop import Loop
from benchmarks.ladder.workspace import Workspace


@dataclass(frozen=True)
class Engine(ABC):
    """One way to compute the networks. Engines are small and picklable; the weights come with `open`."""

    precision: str = "fp32"  # or bf16, fp16: of the denoiser's matrix products

    @property
    @abstractmethod
    def name(self) -> str:
        """Tells apart all engines whose images may differ; also a folder's name."""

    def missing(self, workspace: Workspace) -> str | None:
        """The reason, in a few words, why this machine cannot run it; None if it can."""
        return None

    @property
    def exported(self) -> str | None:
        """The kind of export that `open` reads; None where it reads the checkpoint."""
        return None

    @abstractmethod
    def open(self, workspace: Workspace) -> Loop:
        """The loop around the networks, weights loaded."""


def device() -> str:
    """PyTorch's device: `cuda` or `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def installed(module: str) -> bool:
    """True if `module` could be imported."""
    return importlib.util.find_spec(module) is not None
