"""PyTorch: from the checkpoint's networks with plain attention to what `--runtime torch` serves."""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from networks import Network
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.ladder.engines.engine import Engine, device, installed
from benchmarks.ladder.engines.loop import Loop
from benchmarks.ladder.workspace import Workspace
from export.graph.graphs import TORCH_DTYPES
from export.runtimes.torch.engine import Engine as ServedEngine
from export.sizes import choose_sizes

TorchNetwork: TypeAlias = Callable[..., dict[str, torch.Tensor]]
"""A network of PyTorch's tensors, in and out by name."""

DENOISER_BATCHES = (2, 8)
"""Rows that the served denoiser is compiled for here: one image, and what many are put together from."""


@dataclass(frozen=True)
class TorchEngine(Engine):
    """The checkpoint's networks on the GPU, or on the CPU where there is none."""

    compiled: bool = False  # the denoiser by torch.compile
    efficient_attention: bool = False  # fused kernels, which never hold all weights of attention

    @property
    def name(self) -> str:
        flags = ("compiled", "efficient_attention")
        return "-".join(["torch", device(), self.precision, *(flag for flag in flags if getattr(self, flag))])

    def missing(self, workspace: Workspace) -> str | None:
        return missing_compiler() if self.compiled else None

    def open(self, workspace: Workspace) -> Loop:
        limit_threads(workspace)
        modules = load_modules(workspace, self.precision)
        if self.compiled:
            compile_module(modules["denoiser"])
        denoiser = modules["denoiser"] if self.efficient_attention else plain_attention(modules["denoiser"])
        return Loop(workspace.repository(), torch_networks({**modules, "denoiser": denoiser}))


@dataclass(frozen=True)
class ServedTorchEngine(Engine):
    """The engine of `--runtime torch`: compiled, fused projections for efficient attention, channels last."""

    batches: tuple[int, ...] = DENOISER_BATCHES

    @property
    def name(self) -> str:
        batches = [] if self.batches == DENOISER_BATCHES else [f"rows-{'-'.join(map(str, self.batches))}"]
        return "-".join(["torch-served", device(), self.precision, *batches])

    def missing(self, workspace: Workspace) -> str | None:
        return missing_compiler()

    def open(self, workspace: Workspace) -> Loop:
        limit_threads(workspace)
        networks = workspace.checkpoint.networks(choose_sizes(workspace.checkpoint, None, None))
        served = {}
        for name, module in load_modules(workspace, self.precision).items():
            rows = {
                tensor.name: torch.zeros(tensor.shape, dtype=TORCH_DTYPES[tensor.dtype])
                for tensor in networks[name].inputs
            }
            served[name] = ServedEngine(module, torch.device(device()))
            batches = self.batches if name == "denoiser" else networks[name].compile_batches
            served[name].compile(rows, batches)
        return Loop(workspace.repository(), torch_networks(served))


def load_modules(workspace: Workspace, precision: str) -> dict[str, nn.Module]:
    """The modules of the networks, by name, with weights in `precision`, on PyTorch's device."""
    checkpoint = workspace.checkpoint
    dtype = checkpoint.family.modules.DTYPES[precision]
    networks = checkpoint.networks(choose_sizes(checkpoint, None, None))
    return {name: checkpoint.load_module(network).to(device(), dtype) for name, network in networks.items()}


def plain_attention(module: nn.Module) -> TorchNetwork:
    """`module` with attention as two matrix products and a softmax between, in the precision of the weights."""
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)

    def network(**inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        with sdpa_kernel(SDPBackend.MATH):
            outputs: dict[str, torch.Tensor] = module(**inputs)
        return outputs

    return network


def torch_networks(modules: Mapping[str, TorchNetwork]) -> dict[str, Network]:
    """Networks of PyTorch's modules, by name; a call ends when its result is on the host."""
    return {name: partial(_call, module) for name, module in modules.items()}


@torch.inference_mode()
def _call(module: TorchNetwork, /, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    outputs = module(**{name: torch.from_numpy(array).to(device()) for name, array in inputs.items()})
    return {name: output.cpu().numpy() for name, output in outputs.items()}


def limit_threads(workspace: Workspace) -> None:
    """Let PyTorch use as many threads as the workspace allows."""
    if workspace.threads:
        torch.set_num_threads(workspace.threads)


def compile_module(module: nn.Module) -> None:
    """Compile `module` at its first call with each shape; on the GPU it is replayed as a CUDA graph from then on."""
    warnings.filterwarnings("ignore", module="torch._dynamo")  # about its own internals
    module.compile(mode="reduce-overhead" if device() == "cuda" else "default", dynamic=False)


def missing_compiler() -> str | None:
    """The thing that torch.compile lacks on this machine, in a few words; None if nothing."""
    if device() == "cuda":
        return None if installed("triton") else "torch.compile needs Triton, which is not installed"
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"torch.compile needs a C++ compiler: install {compiler}"
