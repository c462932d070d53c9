"""PyTorch: from diffusers' networks as they come to compiled half precision with efficient attention."""

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import nn

from export.benchmark.engines import device, installed
from export.benchmark.loop import Loop, Networks
from export.benchmark.workplace import Workplace
from export.modules import TextEncoder, UNet, VaeDecoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TorchEngine:
    """The checkpoint's networks on the GPU, or on the CPU where there is none."""

    precision: str = "fp32"
    compiled: bool = False  # the UNet by torch.compile
    efficient_attention: bool = False  # scaled_dot_product_attention, which never holds all weights of attention
    fused: bool = False  # one matrix product for query, key and value; convolutions in channels-last order

    @property
    def name(self) -> str:
        flags = ("compiled", "efficient_attention", "fused")
        return "-".join(["torch", device(), self.precision, *(flag for flag in flags if getattr(self, flag))])

    def missing(self, workplace: Workplace) -> str | None:
        return missing_compiler() if self.compiled else None

    def open(self, workplace: Workplace) -> Loop:
        checkpoint = workplace.checkpoint
        limit_threads(workplace)
        text_encoder = as_function(TextEncoder(checkpoint.load_text_encoder()), self.precision)
        vae_decoder = as_function(VaeDecoder(checkpoint.load_vae()), self.precision)
        unet = self.prepare(checkpoint.load_unet())
        if self.compiled:
            compile_module(unet)
        return Loop(workplace.repository(), Networks(text_encoder, as_function(unet, self.precision), vae_decoder))

    def prepare(self, unet: UNet2DConditionModel) -> nn.Module:
        """`unet` with this engine's attention and layout, behind the graph's interface."""
        unet.set_attn_processor(AttnProcessor2_0() if self.efficient_attention else AttnProcessor())
        if self.fused:
            unet.fuse_qkv_projections()
            unet.to(memory_format=torch.channels_last)
        return UNet(unet).eval()


def limit_threads(workplace: Workplace) -> None:
    """Let PyTorch use as many threads as the workplace allows."""
    if workplace.threads:
        torch.set_num_threads(workplace.threads)


def compile_module(module: nn.Module) -> None:
    """Compile `module` at its first call with each shape; on the GPU with tuned kernels, replayed as a CUDA graph."""
    warnings.filterwarnings("ignore", module="torch._dynamo")  # about its own internals
    module.compile(mode="max-autotune" if device() == "cuda" else None, dynamic=False)


def as_function(module: nn.Module, precision: str) -> Callable[..., np.ndarray]:
    """`module` as a function of NumPy arrays, computed in `precision`; it ends when the result is on the host."""
    dtype = DTYPES[precision]
    module.to(device(), dtype)

    def cast(array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(device())
        # Timesteps (B,) stay as they are: BF16 cannot tell 999 from 1000.
        return tensor.to(dtype) if tensor.is_floating_point() and tensor.ndim > 1 else tensor

    @torch.no_grad()
    def call(*arrays: np.ndarray) -> np.ndarray:
        output = module(*(cast(array) for array in arrays))
        return (output.float() if output.is_floating_point() else output).cpu().numpy()

    return call


def missing_compiler() -> str | None:
    """What torch.compile lacks on this machine."""
    if device() == "cuda":
        return None if installed("triton") else "torch.compile needs Triton, which is not installed"
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"torch.compile needs a C++ compiler: install {compiler}"
