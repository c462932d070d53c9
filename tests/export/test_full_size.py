"""Stable Diffusion 1.5's architecture at full size, from random weights to a repository."""

import multiprocessing
import os
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import onnx
import pytest

from export.checkpoint.components import read_checkpoint
from export.plan.plans import choose_target
from export.repository import Export, write_repository
from export.runtime import Precision, Runtime
from export.sizes import choose_sizes
from export.specification import HAND_WRITTEN_MODELS
from tests.support.processes import children

ROOT = Path(__file__).parents[2]
PARAMETERS = 859.5e6
MAX_MEMORY = 20e9


def run_module(*arguments: object) -> tuple[float, float]:
    """Run `python -m ...` from the project's root: (seconds, peak bytes of the largest process so far)."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=ROOT, check=True)
    return time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "sd15"
    run_module("export.checkpoint.random_weights", folder, "--architecture", "sd15")
    return folder


def write_one_plan(checkpoint: Path, name: str, repository: Path) -> tuple[list[tuple[str, float]], float]:
    """Export and build one model alone: (what was done and its seconds, most bytes of it and its builder at once)."""
    found = read_checkpoint(str(checkpoint))
    begun = [("", time.monotonic())]
    together = 0.0

    def report(text: str) -> None:
        nonlocal together
        building = sum(memory(child, "VmHWM") for child in children(os.getpid()))
        together = max(together, memory(os.getpid(), "VmRSS") + building)
        if not text.startswith(f"{begun[-1][0]}, "):
            begun.append((text, time.monotonic()))

    sizes, target = choose_sizes(found, None, None), choose_target(Runtime.TENSORRT_RTX, "86")
    networks = found.networks(sizes)
    order = Export(found, sizes, {name: networks[name]}, Runtime.TENSORRT_RTX, Precision.FP16, target=target)
    write_repository(order, repository, report)
    ends = [start for _, start in begun[2:]] + [time.monotonic()]
    took = [(text, end - start) for (text, start), end in zip(begun[1:], ends)]
    return took, max(together, memory(os.getpid(), "VmHWM"))


def memory(pid: int, kind: str) -> float:
    """Bytes that a process holds (VmRSS) or has held at once since it was started (VmHWM; getrusage begins with its
    parent's)."""
    with suppress(OSError):
        found = re.search(rf"{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return 1024.0 * int(found[1]) if found else 0.0
    return 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text_encoder", "vae_decoder", "denoiser"])
def test_full_size_plan(name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From FP32 weights to FP16 graph and TensorRT-RTX plan for one kind of GPU, with no GPU."""
    # In a process of its own, whose memory is what an export takes.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        took, most = pool.submit(write_one_plan, checkpoint, name, tmp_path / "models").result()
    size = (tmp_path / "models" / name / "1/model.plan").stat().st_size
    with capsys.disabled():
        print("", *(f"{text}: {seconds:.0f} s" for text, seconds in took), sep="\n")
        print(f"{name}: plan of {size / 1e9:.2f} GB, memory at most {most / 1e9:.1f} GB")
    assert most < MAX_MEMORY


@pytest.mark.slow
def test_full_size_export(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Needs about 20 GB of disk, and states what else it took."""
    repository = tmp_path / "models"
    seconds, memory = run_module("export", checkpoint, "--repository", repository)
    with capsys.disabled():
        print(f"\nfull-size export: {seconds:.0f} s, at most {memory / 1e9:.1f} GB of memory")
    assert memory < MAX_MEMORY
    denoiser = repository / "denoiser/1"
    assert (denoiser / "model.onnx.data").stat().st_size == pytest.approx(4 * PARAMETERS, rel=0.01)
    assert not (repository / "vae_decoder/1/model.onnx.data").exists()
    weights = onnx.load(denoiser / "model.onnx", load_external_data=False).graph.initializer
    assert {e.value for w in weights for e in w.external_data if e.key == "location"} == {"model.onnx.data"}
    assert all((repository / model.name / "config.pbtxt").exists() for model in HAND_WRITTEN_MODELS)
