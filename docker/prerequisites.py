"""Installs the Debian packages that a bare Python lacks: venv, and the shared library that Triton's stub is linked to.

Does nothing where both are there, as with most Pythons that were not installed by apt.
"""

import importlib.util
import os
import subprocess
import sys

from installation import PYTHON, LaunchError, libpython_folder


def missing_packages() -> list[str]:
    missing = [] if importlib.util.find_spec("ensurepip") else [f"python{PYTHON}-venv"]
    try:
        libpython_folder()
    except LaunchError:
        missing.append(f"libpython{PYTHON}")
    return missing


def main() -> None:
    packages = missing_packages()
    if not packages:
        return
    print(f"installing {' '.join(packages)} with apt-get", file=sys.stderr)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "apt-get", "update", "-qq"], check=True)
    subprocess.run([*as_root, "apt-get", "install", "-qq", "--yes", *packages], check=True)


if __name__ == "__main__":
    main()
