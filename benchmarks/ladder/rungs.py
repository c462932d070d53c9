"""The rungs of the ladder, each the one above it with one thing changed."""

from dataclasses import dataclass

from benchmarks.ladder.engines.diffusers_engine import DiffusersEngine
from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.engines.tensorrt_engine import TensorRTEngine
from benchmarks.ladder.engines.torch_engine import ServedTorchEngine, TorchEngine
from benchmarks.ladder.samplers import DDIM, DDPM, DPMPP_2M, Sampler


@dataclass(frozen=True)
class Rung:
    """A row of the table."""

    name: str
    sampler: Sampler
    engine: Engine


def ladder() -> list[Rung]:
    """Every rung, whether this machine can run it or not."""
    # FP16 pays on a GPU only, so on a CPU the rungs after it go on in FP32.
    onwards = "fp16" if device() == "cuda" else "fp32"
    return [
        Rung("DDPM, 1000 steps", DDPM, TorchEngine()),
        Rung("DDIM, 50 steps", DDIM, TorchEngine()),
        Rung("DPM++ 2M, 20 steps", DPMPP_2M, TorchEngine()),
        Rung("+ torch.compile", DPMPP_2M, TorchEngine(compiled=True)),
        Rung("+ FP16", DPMPP_2M, TorchEngine("fp16", compiled=True)),
        Rung("or BF16", DPMPP_2M, TorchEngine("bf16", compiled=True)),
        Rung("+ efficient attention", DPMPP_2M, TorchEngine(onwards, compiled=True, efficient_attention=True)),
        Rung("--runtime torch", DPMPP_2M, ServedTorchEngine(onwards)),
        Rung("ONNX Runtime", DPMPP_2M, OnnxEngine()),
        Rung("ONNX Runtime, FP16", DPMPP_2M, OnnxEngine("fp16")),
        Rung("TensorRT", DPMPP_2M, TensorRTEngine()),
        Rung("TensorRT, CUDA graphs", DPMPP_2M, TensorRTEngine(cuda_graphs=True)),
        Rung("diffusers' pipeline", DPMPP_2M, DiffusersEngine(onwards)),
        Rung("diffusers' pipeline, compiled", DPMPP_2M, DiffusersEngine(onwards, compiled=True)),
    ]
