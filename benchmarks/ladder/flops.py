"""Arithmetic: the operations of a denoiser call, and this machine's rate of plain matrix products."""

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ladder.engines.engine import device
from export.checkpoint.components import Checkpoint
from export.graph.graphs import TORCH_DTYPES
from export.sizes import choose_sizes

MATRIX = {"cuda": 8192, "cpu": 2048}
"""Side of the square matrices: large enough that their product runs at the machine's full rate."""
REPEATS = 5
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def denoiser_flops(checkpoint: Checkpoint, rows: int) -> int:
    """Floating-point operations of one denoiser call of `rows` rows at the checkpoint's size; counted, not computed."""
    modules = checkpoint.family.modules
    network = checkpoint.networks(choose_sizes(checkpoint, None, None))["denoiser"]
    with torch.device("meta"):  # neither weights nor arithmetic
        components = {
            name: modules.COMPONENTS[name][0].from_config(checkpoint.settings[name])
            for name in modules.NETWORKS[network.name]
        }
        denoiser = modules.make_module(network.name, components)
        inputs = {
            tensor.name: torch.empty(rows, *tensor.shape, dtype=TORCH_DTYPES[tensor.dtype]) for tensor in network.inputs
        }
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            denoiser(**inputs)
    return counter.get_total_flops()


def matrix_product_rate(precision: str, threads: int = 0, side: int | None = None) -> float:
    """FLOP/s of one large matrix product in `precision`, PyTorch's best of a few. `side`: of the matrices."""
    if threads:
        torch.set_num_threads(threads)
    side = side or MATRIX[device()]
    matrix = torch.randn(side, side, device=device()).to(DTYPES[precision])
    return 2 * side**3 / min(_seconds(matrix) for _ in range(REPEATS))


def _seconds(matrix: torch.Tensor) -> float:
    start = time.perf_counter()
    product = matrix @ matrix
    if product.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
