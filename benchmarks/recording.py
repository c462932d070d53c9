"""Records of measurements: JSON with the figures and the machine that they were measured on."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from triton_diffusion.bench.machine import processor

PACKAGES = ("torch", "diffusers", "transformers", "onnxruntime", "numpy", "tensorrt", "nvidia-pytriton")


def machine() -> dict[str, Any]:
    """Date, processor, GPU and the versions of what computes."""
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def where(machine: Mapping[str, Any]) -> str:
    """`machine`, as above, in the title of a plot: its GPU, or its processor where it has none, and the date."""
    return f"{machine['gpu'] or '{cores} cores of {processor}'.format(**machine)}, {machine['date']}"


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to `path` as JSON. Raises ValueError for a figure that is not finite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
