"""NVIDIA's perf_analyzer, found on the PATH or fetched, and run.

It comes in NVIDIA's SDK image, and inside tritonclient's wheels up to 2.60. It links to two libraries that few other
machines have: libb64, and CUDA's runtime, which is not used here.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchError

WHEEL = "tritonclient==2.51.0"  # later ones need glibc 2.38
CUDA_RUNTIME_WHEEL = "nvidia-cuda-runtime-cu12"
IMAGE = "nvcr.io/nvidia/tritonserver:YY.MM-py3-sdk"


@dataclass(frozen=True)
class PerfAnalyzer:
    """A perf_analyzer that starts on this machine."""

    binary: Path
    environment: dict[str, str]  # added to this process's own
    version: str

    def run(self, arguments: Sequence[str], folder: Path, timeout: float) -> None:
        """Run it in `folder`, where it leaves its files. Raises BenchError with the reason it gives."""
        try:
            ended = _run([str(self.binary), *arguments], self.environment, folder, timeout)
        except subprocess.TimeoutExpired:
            raise BenchError(f"perf_analyzer did not end within {timeout:.0f} s: ask for fewer --requests") from None
        if ended.returncode != 0:
            raise BenchError(f"perf_analyzer: {reason(ended.stdout)}")


def find_perf_analyzer(cache: Path) -> PerfAnalyzer:
    """The perf_analyzer on the PATH, else the wheel's, which is fetched into the folder `cache` the first time.

    Raises BenchError if there is none, or it does not start.
    """
    cache = cache.absolute()  # it runs in other folders
    installed = shutil.which("perf_analyzer")
    binary = Path(installed) if installed else _kept(cache / "perf_analyzer", _fetch_binary)
    version = _version(binary, {})
    if version:
        return PerfAnalyzer(binary, {}, version)
    for library, fetch in LIBRARIES.items():
        _kept(cache / library, fetch)
    folders = [str(cache), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(folders)}
    version = _version(binary, environment)
    if not version:
        raise BenchError(
            f"{binary} does not start here: run the load test in NVIDIA's image {IMAGE}, which has its own"
        )
    return PerfAnalyzer(binary, environment, version)


def reason(output: str) -> str:
    """The line of perf_analyzer's output that says why it gave up."""
    for pattern in (r"had error: (.+)", r"^(?:error|Error): (.+)", r"^(.*(?:[Ff]ailed|not supported).*)"):
        found = re.search(pattern, output, re.MULTILINE)
        if found:
            return found[1].strip()
    return (output.strip().splitlines() or ["it ended without a word"])[-1]


def _run(
    command: Sequence[str], environment: dict[str, str], folder: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
    )


def _version(binary: Path, environment: dict[str, str]) -> str | None:
    """The version that it prints; None if it does not start."""
    try:
        said = _run([str(binary), "--version"], environment)
    except OSError:
        return None
    found = re.search(r"Version (\S+)", said.stdout)
    return found[1] if found else None


def _kept(path: Path, fetch: Callable[[Path], Path]) -> Path:
    """`path`, fetched first if it is missing. It is never there in part, even if two processes fetch it at once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            fetched = fetch(Path(scratch))
            fetched.chmod(0o755)
            fetched.replace(path)
    return path


def _fetch_binary(scratch: Path) -> Path:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BenchError(
            f"no perf_analyzer on the PATH, and none to fetch for {platform.system()} on {platform.machine()}: "
            f"run the load test in NVIDIA's image {IMAGE}, which has it"
        )
    return _from_wheel(WHEEL, "perf_analyzer", scratch)


def _fetch_cuda_runtime(scratch: Path) -> Path:
    return _from_wheel(CUDA_RUNTIME_WHEEL, "libcudart.so.12", scratch)


def _fetch_libb64(scratch: Path) -> Path:
    """The library inside the wheel of the embedded server if that is installed, else Debian's, unpacked here."""
    carried = list(Path(sysconfig.get_path("purelib"), "nvidia_pytriton.libs").glob("libb64-*.so.0d"))
    if carried:
        return Path(shutil.copy(carried[0], scratch))
    try:
        subprocess.run(["apt-get", "download", "--quiet", "libb64-0d"], cwd=scratch, check=True, capture_output=True)
        (package,) = scratch.glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, scratch / "unpacked"], check=True, capture_output=True)
        return next(path for path in scratch.rglob("libb64.so.0d"))
    except (OSError, subprocess.CalledProcessError):
        raise BenchError(
            "perf_analyzer needs libb64.so.0d: install it (`apt-get install libb64-0d` on Debian and Ubuntu)"
        ) from None


LIBRARIES = {"libb64.so.0d": _fetch_libb64, "libcudart.so.12": _fetch_cuda_runtime}


def _from_wheel(requirement: str, name: str, scratch: Path) -> Path:
    """The file `name` out of a wheel on the package index."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    said = _run([*command, "--platform=manylinux2014_x86_64", f"--dest={scratch}", requirement], {}, timeout=600)
    if said.returncode != 0:
        raise BenchError(
            f"no perf_analyzer on the PATH, and `pip download {requirement}` failed "
            f"({(said.stdout.strip().splitlines() or ['no reason given'])[-1]}): "
            f"mend that, or run the load test in NVIDIA's image {IMAGE}, which has it"
        )
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [entry for entry in archive.namelist() if entry.rpartition("/")[2] == name]
        return Path(archive.extract(member, scratch))
