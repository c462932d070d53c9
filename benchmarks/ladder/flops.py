"""Arithmetic: the operations of a denoiser call, and this machine's rate of plain matrix products."""

import time

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ladder.engines.engine import device
from export.checkpoint.components import Checkpoint

MATRIX = {"cuda": 8192, "cpu": 2048}
"""Side of the square matrices: large enough that their product runs at the machine's full rate."""
REPEATS = 5
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def denoiser_flops(checkpoint: Checkpoint, rows: int) -> int:
    """Floating-point operations of one denoiser call of `rows` rows at the checkpoint's size; counted, not computed."""
    height, width = (side // checkpoint.vae_factor for side in checkpoint.native_size)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(checkpoint.settings["unet"])
        unet.set_attn_processor(AttnProcessor())
        sample = torch.empty(rows, unet.config.in_channels, height, width)
        text_encoder = checkpoint.settings["text_encoder"]
        context = torch.empty(rows, text_encoder["max_position_embeddings"], text_encoder["hidden_size"])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            unet(sample, torch.empty(rows), encoder_hidden_states=context)
    return counter.get_total_flops()


def matrix_product_rate(precision: str, threads: int = 0) -> float:
    """FLOP/s of one large matrix product in `precision`, PyTorch's best of a few."""
    if threads:
        torch.set_num_threads(threads)
    side = MATRIX[device()]
    matrix = torch.randn(side, side, device=device()).to(DTYPES[precision])
    return 2 * side**3 / min(_seconds(matrix) for _ in range(REPEATS))


def _seconds(matrix: torch.Tensor) -> float:
    start = time.perf_counter()
    product = matrix @ matrix
    if product.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
