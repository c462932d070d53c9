"""One network on the GPU or the CPU: its memory layout, its attention, its compiled graphs. Knows no Triton."""

import functools
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

LAYOUTS = {4: torch.channels_last}
"""The memory format of a tensor, by its number of axes; others are plain."""

WARM_UP_CALLS = 3
"""The first compiles, the second records the CUDA graph, the third replays it."""


class CompileError(RuntimeError):
    """One line: what could not be compiled, and what to do about it."""


class Engine:
    """A module of `modules.py`, in the precision of its weights, behind the interface of the ONNX graph.

    Inputs are anything that speaks DLPack (Triton's tensors, PyTorch's, NumPy's) and may lie on any device. The output
    is a plain PyTorch tensor on the engine's device, ready to be read.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.device = device
        self._module = module.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        (network,) = module.children()
        self._one_graph = _choose_attention(network, device)
        self._compiled: Any = None
        self._buffers: dict[int, list[torch.Tensor]] = {}

    @torch.inference_mode()
    def compile(self, rows: Sequence[torch.Tensor], batches: Sequence[int]) -> None:
        """Compile a graph for each of `batches` and run it until it is warm. Raises CompileError.

        `rows` has each input's shape and dtype, without the batch axis. Calls with other shapes stay uncompiled:
        compiling takes minutes, in which no request would be answered.
        """
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, len(batches))
        mode = "max-autotune" if self.device.type == "cuda" else "default"
        self._compiled = torch.compile(self._module, mode=mode, dynamic=False, fullgraph=self._one_graph)
        for batch in batches:
            shapes = [(batch, *row.shape) for row in rows]
            self._buffers[batch] = [
                torch.zeros(shape, dtype=row.dtype, device=self.device).to(memory_format=_layout(len(shape)))
                for shape, row in zip(shapes, rows)
            ]
            try:
                for _ in range(WARM_UP_CALLS):
                    self._run_compiled(batch)
            except Exception as error:  # from the compilers that PyTorch starts, and from PyTorch itself
                reason = next((line for line in str(error).splitlines() if line.strip()), "")
                raise CompileError(
                    f"batch {batch} cannot be compiled ({type(error).__name__}: {reason}): install g++ (for a GPU gcc"
                    " and the Triton compiler, which PyTorch's CUDA wheels bring), or export with --no-compile"
                ) from error

    @torch.inference_mode()
    def __call__(self, *inputs: Any) -> torch.Tensor:
        tensors = [torch.from_dlpack(tensor) for tensor in inputs]
        output = self._call_compiled(tensors) if self._is_compiled_for(tensors) else self._call_eager(tensors)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()  # Triton reads the output on a stream of its own
        return output

    def _call_eager(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        placed = [tensor.to(self.device).contiguous(memory_format=_layout(tensor.ndim)) for tensor in tensors]
        return self._module(*placed).contiguous()

    def _is_compiled_for(self, tensors: Sequence[torch.Tensor]) -> bool:
        buffers = next(iter(self._buffers.values()), None)
        return buffers is not None and all(buffer.shape[1:] == x.shape[1:] for buffer, x in zip(buffers, tensors))

    def _call_compiled(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        outputs, start = [], 0
        for batch in divide(len(tensors[0]), tuple(self._buffers)):
            rows = min(batch, len(tensors[0]) - start)
            for buffer, tensor in zip(self._buffers[batch], tensors):
                buffer[:rows].copy_(tensor[start : start + rows])  # what an earlier call left below does no harm
            # Copied because the next run of a CUDA graph overwrites it.
            outputs.append(self._run_compiled(batch)[:rows].clone(memory_format=torch.contiguous_format))
            start += rows
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _run_compiled(self, batch: int) -> torch.Tensor:
        # The buffers' strides and addresses never change, so that nothing is compiled or recorded a second time.
        torch.compiler.cudagraph_mark_step_begin()
        return self._compiled(*self._buffers[batch])


@functools.cache
def divide(rows: int, batches: tuple[int, ...]) -> tuple[int, ...]:
    """The batches to run for `rows`; their sum may exceed it. A call is taken to cost as much as one more row."""
    if rows <= 0:
        return ()
    runs = [(batch, *divide(rows - batch, batches)) for batch in sorted(batches, reverse=True)]
    return min(runs, key=lambda run: (sum(run) + len(run), len(run)))


def _layout(axes: int) -> torch.memory_format:
    return LAYOUTS.get(axes, torch.contiguous_format)


def _choose_attention(network: nn.Module, device: torch.device) -> bool:
    """xFormers on a GPU where it is installed, else PyTorch's own attention with fused projections.

    Returns whether the network can be compiled as one graph, which is not promised of xFormers.
    """
    if not hasattr(network, "fuse_qkv_projections"):
        return True  # the text encoder, which uses PyTorch's attention anyway
    if device.type == "cuda" and importlib.util.find_spec("xformers"):
        network.enable_xformers_memory_efficient_attention()
        return False
    network.fuse_qkv_projections()
    for attention in network.modules():
        # The fused projections are copies.
        if hasattr(attention, "to_qkv"):
            attention.to_q = attention.to_k = attention.to_v = None
        elif hasattr(attention, "to_kv"):
            attention.to_k = attention.to_v = None
    return True
