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
NGINX_MODULE = "usr/lib/nginx/modules/ngx_http_js_module.so"


def nginx_module() -> Path:
    """nginx's JavaScript module, of the same origin as the nginx of `tool`."""
    if _installed("nginx"):
        return Path("/", NGINX_MODULE)
    return _package("libnginx-mod-http-js") / NGINX_MODULE


def tool(name: str) -> str:
    """The path of the program `name`, one of PACKAGES."""
    return _installed(name) or str(_unpacked(name))


def _installed(name: str) -> str | None:
    if name == "nginx" and not Path("/", NGINX_MODULE).exists():
        return None  # a module goes with the nginx that it was built for
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def _unpacked(name: str) -> Path:
    folder = _package(PACKAGES[name])
    return next(path for path in (folder / inner / name for inner in FOLDERS) if path.exists())


def _package(package: str) -> Path:
    """The folder in which a Debian package lies unpacked."""
    folder = UNPACKED / package
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with (UNPACKED / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not folder.exists():
            _unpack(package, folder)
    return folder


def _unpack(package: str, folder: Path) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "apt-get", "update", "-qq"], check=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED) as scratch:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=scratch, check=True)
        (archive,) = Path(scratch).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, f"{scratch}/files"], check=True)
        Path(scratch, "files").rename(folder)
