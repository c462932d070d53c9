"""What can compute a checkpoint's three networks, and whether this machine has what it takes."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnxruntime
import torch

from export.benchmark.loop import Loop, Networks
from export.benchmark.workplace import Workplace


class Engine(Protocol):
    """One way to compute the networks. Engines are small and picklable; the weights come with `open`."""

    @property
    def name(self) -> str:
        """Tells apart all engines whose pictures may differ; also a folder's name."""

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`: of the UNet's matrix products."""

    def missing(self, workplace: Workplace) -> str | None:
        """Why this machine cannot run it, in a few words; None where it can."""

    def open(self, workplace: Workplace) -> Loop:
        """The loop around the networks, weights loaded."""


@dataclass(frozen=True)
class OnnxEngine:
    """The exported graphs by ONNX Runtime, on the GPU where there is one."""

    precision: str = "fp32"

    @property
    def name(self) -> str:
        return "onnxruntime" if self.precision == "fp32" else f"onnxruntime-{self.precision}"

    def missing(self, workplace: Workplace) -> str | None:
        if device() == "cuda" and self._provider() not in onnxruntime.get_available_providers():
            return "ONNX Runtime is installed without CUDA"
        if self.precision != "fp32":
            return missing_models(workplace, self.precision, "model.onnx", f"--precision {self.precision}")
        return None

    def open(self, workplace: Workplace) -> Loop:
        return loop_of_graphs(workplace, lambda name: self._session(workplace, name))

    def _session(self, workplace: Workplace, name: str) -> Callable[..., np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = workplace.threads
        path = workplace.repository(self.precision) / name / "1/model.onnx"
        session = onnxruntime.InferenceSession(path, options, providers=[self._provider()])
        return lambda **inputs: session.run(None, inputs)[0]

    def _provider(self) -> str:
        return "CUDAExecutionProvider" if device() == "cuda" else "CPUExecutionProvider"


def loop_of_graphs(workplace: Workplace, open_graph: Callable[[str], Callable[..., np.ndarray]]) -> Loop:
    """The loop around exported models; `open_graph` gives each as a function of its named inputs."""
    text_encoder, unet, vae_decoder = (open_graph(name) for name in ("text_encoder", "unet", "vae_decoder"))
    networks = Networks(
        lambda input_ids: text_encoder(input_ids=input_ids),
        lambda sample, timestep, context: unet(sample=sample, timestep=timestep, context=context),
        lambda latent: vae_decoder(latent=latent),
    )
    return Loop(workplace.repository(), networks)


def device() -> str:
    """Where PyTorch runs: `cuda` or `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def installed(module: str) -> bool:
    """Whether `module` could be imported."""
    return importlib.util.find_spec(module) is not None


def missing_models(workplace: Workplace, kind: str, file: str, options: str) -> str | None:
    """How to get the repository `kind` of `workplace`, where it has no `file` for the UNet."""
    repository = workplace.repository(kind)
    if (repository / "unet/1" / file).exists():
        return None
    return f"not exported: python -m export {workplace.checkpoint.folder} {options} --repository {repository}"
