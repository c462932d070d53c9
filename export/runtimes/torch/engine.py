"""One network on the GPU or the CPU: its memory layout, its attention, its compiled graphs. Knows no Triton."""

import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

LAYOUTS = {4: torch.channels_last}
"""The memory format of a tensor, by its number of axes; others are plain."""

WARM_UP_CALLS = 2
"""The first compiles; what a library sets up at its first use must be there before a CUDA graph is recorded."""


class CompileError(RuntimeError):
    """One line: what could not be compiled, and what to do about it."""


class Engine:
    """A module of `modules.py`, in the precision of its weights, behind the interface of the ONNX graph.

    Inputs are anything that speaks DLPack (Triton's tensors, PyTorch's, NumPy's) and may lie on any device. Outputs
    are plain PyTorch tensors on the engine's device, by name; what follows in its stream may read them, others `wait`.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.device = device
        self._module = module.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        one_graph = [_choose_attention(network, device) for network in module.children()]
        self._one_graph = all(one_graph)
        self._buffers: dict[int, dict[str, torch.Tensor]] = {}
        self._runs: dict[int, Callable[[], dict[str, torch.Tensor]]] = {}  # on the buffers of that batch

    @torch.inference_mode()
    def compile(self, rows: Mapping[str, torch.Tensor], batches: Sequence[int]) -> None:
        """Compile a graph for each of `batches` and run it until it is warm. Raises CompileError.

        `rows` has, by name, each input's shape and dtype, without the batch axis. Calls with other shapes stay
        uncompiled: compiling takes minutes, in which no request would be answered.
        """
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, len(batches))
        # In torch.compile's default mode: max-autotune tries kernels out too, for which no server should wait (of eight
        # engines side by side none was ready on an H100 after four minutes), and the CUDA graphs of reduce-overhead
        # belong to one thread, up to PyTorch 2.12 to that which imports it.
        compiled = torch.compile(self._module, dynamic=False, fullgraph=self._one_graph)
        for batch in batches:
            self._buffers[batch] = {
                name: torch.zeros(batch, *row.shape, dtype=row.dtype, device=self.device).to(
                    memory_format=_layout(row.ndim + 1)
                )
                for name, row in rows.items()
            }
            try:
                self._runs[batch] = self._record(functools.partial(compiled, **self._buffers[batch]))
            except Exception as error:  # from the compilers that PyTorch starts, and from PyTorch itself
                reason = next((line for line in str(error).splitlines() if line.strip()), "")
                raise CompileError(
                    f"batch {batch} cannot be compiled ({type(error).__name__}: {reason}): install g++ (for a GPU gcc"
                    " and the Triton compiler, which PyTorch's CUDA wheels bring), or export with --no-compile"
                ) from error

    @torch.inference_mode()
    def __call__(self, **inputs: Any) -> dict[str, torch.Tensor]:
        tensors = {name: torch.from_dlpack(tensor) for name, tensor in inputs.items()}
        return self._call_compiled(tensors) if self._is_compiled_for(tensors) else self._call_eager(tensors)

    def wait(self) -> None:
        """Return once the outputs of all calls so far are computed."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def _call_eager(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        placed = {
            name: tensor.to(self.device).contiguous(memory_format=_layout(tensor.ndim))
            for name, tensor in tensors.items()
        }
        return {name: output.contiguous() for name, output in self._module(**placed).items()}

    def _is_compiled_for(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        buffers = next(iter(self._buffers.values()), None)
        return buffers is not None and all(buffers[name].shape[1:] == x.shape[1:] for name, x in tensors.items())

    def _call_compiled(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        parts: list[dict[str, torch.Tensor]] = []
        total, start = len(next(iter(tensors.values()))), 0
        for batch in divide(total, tuple(self._buffers)):
            rows = min(batch, total - start)
            for name, tensor in tensors.items():
                # What an earlier call left below does no harm.
                self._buffers[batch][name][:rows].copy_(tensor[start : start + rows])
            # Copied because the next replay of a CUDA graph overwrites it.
            parts.append(
                {
                    name: output[:rows].clone(memory_format=torch.contiguous_format)
                    for name, output in self._runs[batch]().items()
                }
            )
            start += rows
        if len(parts) == 1:
            return parts[0]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _record(self, run: Callable[[], dict[str, torch.Tensor]]) -> Callable[[], dict[str, torch.Tensor]]:
        """`run`, warm; on a GPU as one CUDA graph, whose every replay writes to the same outputs."""
        for _ in range(WARM_UP_CALLS):
            run()
        if self.device.type != "cuda":
            return run
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on with theirs
                outputs = run()
        except RuntimeError as error:  # slower, and right all the same
            print(f"a call cannot be one CUDA graph: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
            return run

        def replay() -> dict[str, torch.Tensor]:
            graph.replay()
            return outputs

        return replay


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
