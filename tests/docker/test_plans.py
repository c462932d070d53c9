"""A plan that cannot run here is told before Triton tries."""

import json
import subprocess
from ctypes.util import find_library
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import tensorrt_rtx_bindings
import tensorrt_rtx_libs
from plans import library_version, mismatch

from tests.support.launching import launch

FACTS = {
    "module": "tensorrt",
    "version": "10.12.0.36",
    "gpu": "NVIDIA H200",
    "compute_capabilities": ["9.0"],
}
H200, L4 = ("NVIDIA H200", "9.0"), ("NVIDIA L4", "8.9")


@pytest.mark.parametrize("present", [[H200], [H200, ("NVIDIA H100 PCIe", "9.0")]])
def test_the_right_version_and_gpu(present: list[tuple[str, str]]) -> None:
    assert mismatch(FACTS, "10.12.0.36", present) is None


@pytest.mark.parametrize(
    ("version", "present", "says"),
    [
        ("10.13.3.9", [H200], "is for TensorRT 10.12.0.36, and that is 10.13.3.9 here"),
        (None, [H200], "is for TensorRT 10.12.0.36, and there is none here (no libnvinfer)"),
        ("10.12.0.36", [H200, L4], "is for NVIDIA H200 (compute capability 9.0), and here is NVIDIA L4 (8.9)"),
        ("10.12.0.36", [], "is for NVIDIA H200 (compute capability 9.0), and there is no GPU here"),
    ],
)
def test_another_version_or_gpu(version: str | None, present: list[tuple[str, str]], says: str) -> None:
    assert mismatch(FACTS, version, present) == says


def test_a_library_tells_its_version() -> None:
    (library,) = Path(tensorrt_rtx_libs.__file__).parent.glob("libtensorrt_rtx.so*")
    assert library_version(str(library)) == tensorrt_rtx_bindings.__version__
    assert library_version("libnone.so") is None


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({**FACTS, "module": "tensorrt_rtx_bindings"}, "is for TensorRT-RTX, which Triton has no backend for"),
        pytest.param(
            FACTS,
            "is for TensorRT 10.12.0.36, and there is none here (no libnvinfer)",
            marks=pytest.mark.skipif(find_library("nvinfer") is not None, reason="TensorRT is installed here"),
        ),
    ],
)
def test_the_launcher_tells_it_in_one_line(tmp_path: Path, facts: dict[str, Any], says: str) -> None:
    folder = tmp_path / "denoiser/1"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(facts))
    launcher: subprocess.Popen[str] = launch(tmp_path, stderr=PIPE)
    _, err = launcher.communicate(timeout=30)
    assert launcher.returncode == 1
    assert err.startswith(f"launcher: the plan of denoiser {says}: write the repository again here")
    assert err.count("\n") == 1
