"""Packages for a machine with a GPU, PyTorch and no network: python -m benchmarks.gpu.kit DIR

DIR/kit.tar.xz has the wheels' files for CPython 3.12, unpacked, and perf_analyzer with its libraries; no weights.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from triton_diffusion.bench.perf_analyzer import find_perf_analyzer
from triton_diffusion.cli import errors_in_one_line

from benchmarks.gpu.install import ARCHIVE

ROOT = Path(__file__).parents[2]
REQUIREMENTS = (
    "requirements/export.txt",
    "requirements/server-ngc.txt",
    "requirements/server.txt",
    "requirements/triton.txt",
    "requirements/dev.txt",
)
PACKAGES = (
    "numpy",
    "array-api-compat",
    "diffusers",
    "onnx-graphsurgeon",
    "polygraphy",
    "nvidia-pytriton",
    "tritonclient",
    "httpx2",
)
"""What the image of a GPU machine with PyTorch lacks or has in a release that Triton's Python backend cannot use."""
FURTHER = ("httpcore2", "truststore", "python-rapidjson")
"""What those need, in whatever release they take."""
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_35", "manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")
UNUSED = re.compile(
    r"libpython3|python_backend_stubs/(?!3\.12/)|tritonserver/caches/|/tests/|\.dist-info/(?!METADATA|entry_points)"
)
"""Files of the wheels that nothing there reads: stubs for other Pythons, and tests."""
MOST_MIB = 64
PERF_ANALYZER = ROOT / "build/perf_analyzer"


def pinned(package: str) -> str:
    """The requirement of `package`, as one of `REQUIREMENTS` pins it."""
    for file in REQUIREMENTS:
        found = re.search(rf"^{package}(?:\[.*\])?(==\S+)", (ROOT / file).read_text(), re.MULTILINE)
        if found:
            return package + found[1]
    raise ValueError(f"no version of {package} in {', '.join(REQUIREMENTS)}")


def download(requirements: list[str], folder: Path) -> None:
    """The wheels for the GPU machine's Python, into `folder`."""
    platforms = [f"--platform={name}_x86_64" for name in PLATFORMS]
    target = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *target, f"--dest={folder}", *requirements],
        check=True,
    )


def unpack(wheel: Path, folder: Path) -> None:
    """The files of `wheel` that are used, into `folder`, those that are programs executable."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if not UNUSED.search(member.filename):
                path = Path(archive.extract(member, folder))
                if member.external_attr >> 16 & 0o100:
                    path.chmod(0o755)


@errors_in_one_line()
def main(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")]) -> None:
    """Write the kit for a GPU machine into DIR."""
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, console.status("downloading"):
        wheels, content = Path(scratch, "wheels"), Path(scratch, "content")
        download([*map(pinned, PACKAGES), *FURTHER], wheels)
        for wheel in wheels.glob("*.whl"):
            unpack(wheel, content / "site-packages")
        find_perf_analyzer(PERF_ANALYZER)
        shutil.copytree(PERF_ANALYZER, content / "perf_analyzer")
        archive = folder / ARCHIVE
        with tarfile.open(Path(scratch, ARCHIVE), "w:xz", preset=6) as packed:
            packed.add(content, ".")
        Path(scratch, ARCHIVE).replace(archive)
    size = archive.stat().st_size / 2**20
    if size > MOST_MIB:
        raise typer.BadParameter(f"{archive} has {size:.0f} MiB, and at most {MOST_MIB} may be carried")
    print(f"{archive}: {size:.1f} MiB")


if __name__ == "__main__":
    typer.run(main)
