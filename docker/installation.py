"""The Triton of this machine: the NGC image's own, or the one that the nvidia-pytriton wheel carries."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from launch_error import LaunchError

NGC = Path("/opt/tritonserver")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Installation:
    """A Triton that can be started."""

    binary: Path
    backends: Path
    environment: dict[str, str]  # to be added to the process's own
    options: frozenset[str]  # names of those that this release has


def find_installation(workspace: Path) -> Installation:
    """The NGC image's Triton if this is one, else the wheel's, composed in `workspace`. Raises LaunchError."""
    if (NGC / "bin/tritonserver").exists():
        return _installation(NGC / "bin/tritonserver", NGC / "backends", {})
    return _wheel_installation(workspace)


def _wheel_installation(workspace: Path) -> Installation:
    """The wheel's server, with a backend folder that holds the Python backend and the stub of this Python."""
    packages = Path(sysconfig.get_path("purelib"))
    triton = packages / "pytriton/tritonserver"
    if not (triton / "bin/tritonserver").exists():
        raise LaunchError(
            f"no Triton found: neither {NGC}/bin/tritonserver (an NGC image) nor the wheel's; "
            "install it with `pip install --no-deps -r requirements/triton.txt`"
        )
    stub = triton / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    if not stub.exists():
        supported = ", ".join(sorted(folder.name for folder in stub.parents[1].iterdir()))
        raise LaunchError(
            f"this is Python {PYTHON}, but the wheel's Triton has stubs for {supported}: use one of those"
        )
    backend = workspace / "backends/python"
    shutil.copytree(triton / "backends/python", backend, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(stub, backend)
    libraries = [str(packages / "nvidia_pytriton.libs"), *libpython_folder()]
    environment = {
        "LD_LIBRARY_PATH": os.pathsep.join(libraries + os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)),
        # The stub embeds an isolated Python that finds its packages by the first python3 on the PATH.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    return _installation(triton / "bin/tritonserver", backend.parent, environment)


def _installation(binary: Path, backends: Path, environment: dict[str, str]) -> Installation:
    """With the options that `binary` lists in its help. Raises LaunchError."""
    command = [str(binary), "--help"]
    said = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, errors="replace")
    options = frozenset(re.findall(r"^  --([\w-]+)", said.stdout + said.stderr, re.MULTILINE))
    if not options:
        raise LaunchError(f"{binary} does not start: {(said.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return Installation(binary, backends, environment, options)


def libpython_folder() -> list[str]:
    """The folder of libpython, which the stub is linked to; none if the system's linker finds it by itself.

    Raises LaunchError if it is missing.
    """
    library = f"libpython{PYTHON}.so.1.0"
    folder = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    if (folder / library).exists():
        return [str(folder)]
    try:
        ctypes.CDLL(library)
    except OSError as error:
        raise LaunchError(f"{library} is missing: install it with `apt-get install libpython{PYTHON}`") from error
    return []
