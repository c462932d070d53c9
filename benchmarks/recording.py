"""What every record of a measurement says of itself."""

import os
from datetime import date
from importlib.metadata import version

from triton_diffusion.bench.machine import processor

PACKAGES = ("onnxruntime", "nvidia-pytriton", "numpy")


def about() -> dict[str, object]:
    """Date, machine and versions."""
    versions = {package: version(package) for package in PACKAGES}
    return {"date": date.today().isoformat(), "processor": processor(), "cores": os.cpu_count(), **versions}
