"""Debian packages that a bare Python lacks: venv, and the shared library that Triton's stub is linked to.

Installs nothing if both are there, as with most Pythons that were not installed by apt. With --browser also Chromium,
for the tests of the page; with --containers what builds images without a container engine, for the tests of those.
"""

import importlib.util
import os
import shutil
import subprocess
import sys

from installation import PYTHON, libpython_folder
from launch_error import LaunchError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # any of which the tests take
CONTAINERS = ("buildah", "debootstrap")


def missing_packages(browser: bool, containers: bool) -> list[str]:
    missing = [] if importlib.util.find_spec("ensurepip") else [f"python{PYTHON}-venv"]
    try:
        libpython_folder()
    except LaunchError:
        missing.append(f"libpython{PYTHON}")
    if browser and not any(map(shutil.which, BROWSERS)):
        missing.append("chromium")
    if containers:
        missing += [name for name in CONTAINERS if not shutil.which(name)]
    return missing


def main() -> None:
    packages = missing_packages("--browser" in sys.argv[1:], "--containers" in sys.argv[1:])
    if not packages:
        return
    print(f"installing {' '.join(packages)} with apt-get", file=sys.stderr)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "apt-get", "update", "-qq"], check=True)
    subprocess.run([*as_root, "apt-get", "install", "-qq", "--yes", *packages], check=True)


if __name__ == "__main__":
    main()
