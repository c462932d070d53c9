"""Stable Diffusion 1.5's architecture at full size, from random weights to a repository."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from export.specification import DIFFUSION, TEXT_TO_IMAGE

ROOT = Path(__file__).parents[2]
PARAMETERS = 859.5e6
MAX_MEMORY = 20e9


def run_module(*arguments: object) -> tuple[float, float]:
    """Run `python -m ...` from the project's root: (seconds, peak bytes of the largest process so far)."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=ROOT, check=True)
    return time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


@pytest.mark.slow
def test_full_size_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Needs about 20 GB of disk, and states what else it took."""
    checkpoint, repository = tmp_path / "sd15", tmp_path / "models"
    run_module("export.random_checkpoint", checkpoint, "--architecture", "sd15")
    seconds, memory = run_module("export", checkpoint, "--repository", repository)
    with capsys.disabled():
        print(f"\nfull-size export: {seconds:.0f} s, at most {memory / 1e9:.1f} GB of memory")
    assert memory < MAX_MEMORY
    unet = repository / "unet/1"
    assert (unet / "model.onnx.data").stat().st_size == pytest.approx(4 * PARAMETERS, rel=0.01)
    assert not (repository / "vae_decoder/1/model.onnx.data").exists()
    weights = onnx.load(unet / "model.onnx", load_external_data=False).graph.initializer
    assert {e.value for w in weights for e in w.external_data if e.key == "location"} == {"model.onnx.data"}
    assert all((repository / model.name / "config.pbtxt").exists() for model in (DIFFUSION, TEXT_TO_IMAGE))
