"""Programs that tests run for real: the machine's own, else Debian's packages, unpacked under build/tools.

Unpacked and not installed, so that nothing else on the machine changes and no service starts.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

UNPACKED = Path(__file__).parents[2] / "build/tools"
PACKAGES = {"nginx": "nginx", "prometheus": "prometheus", "promtool": "prometheus"}
FOLDERS = ("usr/sbin", "usr/bin")


def tool(name: str) -> str:
    """The path of the program `name`, one of PACKAGES."""
    installed = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    return installed or str(_unpacked(name))


def _unpacked(name: str) -> Path:
    package = PACKAGES[name]
    folder = UNPACKED / package
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with (UNPACKED / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not folder.exists():
            _unpack(package, folder)
    return next(path for path in (folder / inner / name for inner in FOLDERS) if path.exists())


def _unpack(package: str, folder: Path) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "apt-get", "update", "-qq"], check=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED) as scratch:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=scratch, check=True)
        (archive,) = Path(scratch).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, f"{scratch}/files"], check=True)
        Path(scratch, "files").rename(folder)
