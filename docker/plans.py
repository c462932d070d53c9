"""The check that this machine can run a repository's TensorRT plans, of which Triton's own error says less.

A plan runs on the version of TensorRT and the kind of GPU that it was built with; plan.json beside it holds both.
"""

import ctypes
import ctypes.util
import json
import subprocess
from pathlib import Path
from typing import Any

from launch_error import LaunchError


def check_plans(repository: Path) -> None:
    """Raises LaunchError if a plan in `repository` would not load."""
    for file in sorted(repository.glob("*/1/plan.json")):
        facts = json.loads(file.read_text())
        wrong = mismatch(facts, library_version(ctypes.util.find_library("nvinfer")), gpus())
        if wrong:
            raise LaunchError(
                f"the plan of {file.parents[1].name} {wrong}:"
                " write the repository again here, with `python -m export CHECKPOINT --runtime tensorrt`"
            )


def mismatch(facts: dict[str, Any], version: str | None, present: list[tuple[str, str]]) -> str | None:
    """The reason why the plan of `facts` cannot run with TensorRT `version` on the GPUs (name, compute capability)."""
    if facts["module"] != "tensorrt":
        return "is for TensorRT-RTX, which Triton has no backend for"
    if version != facts["version"]:
        found = f"that is {version} here" if version else "there is none here (no libnvinfer)"
        return f"is for TensorRT {facts['version']}, and {found}"
    built_for = f"is for {facts['gpu']} (compute capability {', '.join(facts['compute_capabilities'])})"
    if not present:
        return f"{built_for}, and there is no GPU here"
    for name, capability in present:
        if capability not in facts["compute_capabilities"]:
            return f"{built_for}, and here is {name} ({capability})"
    return None


def library_version(library: str | None) -> str | None:
    """The version that TensorRT's `library` gives itself, such as 10.12.0.36; None if it does not load."""
    try:
        parts = ctypes.CDLL(library or "no such library")
    except OSError:
        return None
    return ".".join(str(getattr(parts, f"getInferLib{part}Version")()) for part in ("Major", "Minor", "Patch", "Build"))


def gpus() -> list[tuple[str, str]]:
    """Name and compute capability of every GPU that Triton will use."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    rows = (line.rsplit(",", 1) for line in listed.splitlines())
    return [(name.strip(), capability.strip()) for name, capability in rows]
