"""An environment on a machine with no network: python3 benchmarks/gpu/install.py KIT DIR

DIR is a virtual environment of the Python that runs this: the kit's packages, and beside them PyTorch and what else
that Python has. DIR/perf_analyzer has the load generator.
"""

import lzma
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = "kit.tar.xz"
"""The file of a kit; `benchmarks.gpu.kit` writes it."""
LEFT_OUT = ("scipy", "sklearn", "scikit_learn")
"""Packages built for NumPy 2 that PyTorch's libraries import where they are there; Triton's Python backend needs 1."""


def install(kit: Path, folder: Path) -> Path:
    """The Python of the new environment."""
    venv.create(folder, symlinks=True, clear=True)
    packages = folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    with lzma.open(kit / ARCHIVE) as stream, tarfile.open(fileobj=stream) as archive:
        archive.extractall(folder / "kit", filter="fully_trusted")
    for entry in (folder / "kit/site-packages").iterdir():
        entry.rename(packages / entry.name)
    (folder / "kit/perf_analyzer").rename(folder / "perf_analyzer")
    replaced = tuple(f"{info.name.partition('-')[0]}-" for info in packages.glob("*.dist-info"))
    for source in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(source).iterdir():
            ours = packages / entry.name
            if not ours.exists() and not entry.name.startswith((*LEFT_OUT, *replaced)):
                ours.symlink_to(entry)
    (packages / "project.pth").write_text(f"{ROOT}\n{ROOT / 'client'}\n")
    return folder / "bin/python"


if __name__ == "__main__":
    print(install(Path(sys.argv[1]), Path(sys.argv[2])))
