"""Builds images and runs containers without a container engine: buildah, and the kernel's namespaces.

A container runs as an engine would run it at its strictest: the image's user and no other, a read-only root file
system, /tmp and /dev/shm as the only places to write and neither for programs, no capabilities, no network but the
loopback device that the containers of a Pod share.
"""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.manifests import ROOT, VERSION

STORE = ROOT / "build/containers"
BASE = "localhost/base"
MIRROR = "http://deb.debian.org/debian"
PROGRAMS = ("buildah", "debootstrap")

needs_containers = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)),
    reason="builds images as root with buildah and debootstrap: docker/prerequisites.py --containers",
)


def buildah(*arguments: str | Path) -> str:
    """Standard output of buildah."""
    places = [f"--root={STORE}/storage", f"--runroot={STORE}/run", f"--storage-driver={_storage_driver()}"]
    command = ["buildah", *places, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@functools.cache
def _storage_driver() -> str:
    """overlay where the kernel mounts it, which is many times faster than copying."""
    with tempfile.TemporaryDirectory(dir=STORE) as folder:
        for part in ("lower", "upper", "work", "merged"):
            Path(folder, part).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/merged"]
        if subprocess.run(command, capture_output=True).returncode:
            return "vfs"
        subprocess.run(["umount", f"{folder}/merged"], check=True)
        return "overlay"


def make_base() -> None:
    """In place of python:3.11-slim-bookworm: Debian with its Python, bootstrapped once."""
    STORE.mkdir(parents=True, exist_ok=True)
    if buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        return
    with tempfile.TemporaryDirectory(dir=STORE) as folder:
        packages = "--include=ca-certificates,libpython3.11,python3,python3-venv"
        subprocess.run(["debootstrap", "--variant=minbase", packages, "bookworm", folder, MIRROR], check=True)
        shutil.rmtree(f"{folder}/var/cache/apt/archives")
        shutil.rmtree(f"{folder}/var/lib/apt/lists")
        container = buildah("from", "scratch")
        buildah("add", "--quiet", container, folder, "/")
        buildah("commit", "--quiet", "--rm", container, BASE)


def build(name: str, dockerfile: str, target: str | None = None) -> "Image":
    """The image of docker/images/ that Kubernetes knows as `name`, on that base; pip as this machine has it."""
    make_base()
    tag = f"localhost/triton-diffusion-{name}"
    with tempfile.TemporaryDirectory(dir=STORE) as folder:
        buildah(
            "build", "--isolation=chroot", "--format=docker", "--layers", "--force-rm", "--quiet",
            f"--file={ROOT}/docker/images/{dockerfile}", f"--tag={tag}", *([f"--target={target}"] if target else []),
            f"--build-arg=BASE={BASE}", f"--build-arg=VERSION={VERSION}", *_pip_settings(Path(folder)), ROOT,
        )  # fmt: skip
    return Image(tag)


def _pip_settings(folder: Path) -> Iterator[str]:
    """Arguments that give a build what pip is told on this machine: its options, and the places that they name."""
    pip = [sys.executable, "-m", "pip", "config", "list"]
    options = {}
    for line in subprocess.run(pip, check=True, capture_output=True, text=True).stdout.splitlines():
        name, value = line.split("=", 1)
        options[name.rpartition(".")[2]] = value.strip("'")
    options.pop("constraint", None)  # the versions are fixed
    (folder / "pip.conf").write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    yield f"--volume={folder}/pip.conf:/etc/pip.conf:ro"
    named = [place for value in options.values() for place in value.split()]
    places = {str(Path(place[7:]).parent) if place.startswith("file://") else place for place in named}
    yield from (f"--volume={place}:{place}:ro" for place in places if place.startswith("/"))
    if "find-links" in options:  # PyTorch for the CPU is there, and its own index may be out of reach
        yield f"--build-arg=TORCH_INDEX=file://{options['find-links'].split()[0]}"


@dataclass(frozen=True)
class Image:
    tag: str

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """Entrypoint, Cmd, Env, User, WorkingDir, Healthcheck, Labels"""
        return json.loads(buildah("inspect", "--type=image", self.tag))["Docker"]["config"]

    @property
    def size(self) -> str:
        return json.loads(buildah("images", "--json", self.tag))[0]["size"]


# What stands between a fork in new namespaces and the program: mounts, then the image's user for good.
START = """
set -eu
root=$1 workdir=$2 user=$3 shm_size=$4 volumes=$5; shift 5
mount --bind "$root" "$root"
mount --types proc proc "$root/proc"
mount --types tmpfs --options mode=755,nosuid tmpfs "$root/dev"
for device in null,3 zero,5 full,7 random,8 urandom,9; do mknod -m 666 "$root/dev/${device%,*}" c 1 "${device#*,}"; done
mkdir "$root/dev/shm"
mount --types tmpfs --options "size=$shm_size,noexec,nosuid,nodev" tmpfs "$root/dev/shm"
mount --types tmpfs --options size=1g,noexec,nosuid,nodev tmpfs "$root/tmp"
for volume in $volumes; do
    mount --bind "${volume%%:*}" "$root/${volume#*:}"
done
mount --options remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" "$root" env --ignore-environment --chdir="$workdir" "$@"
"""


class Pod:
    """Containers that reach each other, and nothing else, by 127.0.0.1."""

    def __init__(self) -> None:
        self._network = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"])
        self._containers: list[Container] = []

    def start(
        self, image: Image, *command: str, volumes: Mapping[Path, str] | None = None, **options: Any
    ) -> "Container":
        """Start a container with `command` in place of the image's own, where one is given."""
        container = Container(self._inside(), image, command, volumes or {}, **options)
        self._containers.append(container)
        return container

    def run(self, *command: str) -> str:
        """Standard output of a program of this machine, run in the pod's network."""
        return subprocess.run([*self._inside(), *command], check=True, stdout=subprocess.PIPE, text=True).stdout

    def _inside(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net"]

    def end(self) -> None:
        for container in self._containers:
            container.end()
        self._network.kill()
        self._network.wait()


class Container:
    """A running container. `log` is what it has printed so far."""

    def __init__(
        self,
        network: list[str],
        image: Image,
        command: tuple[str, ...],
        volumes: Mapping[Path, str],
        shm_size: str = "1g",
    ) -> None:
        self._image = image
        self._name = buildah("from", image.tag)
        root = buildah("mount", self._name)
        for place in volumes.values():
            Path(f"{root}{place}").mkdir(parents=True, exist_ok=True)
        settings = image.settings
        bound = " ".join(f"{there}:{here}" for there, here in volumes.items())
        program = [*settings["Env"], *settings["Entrypoint"], *(command or settings["Cmd"])]
        start = ["sh", "-c", START, "sh", root, settings["WorkingDir"] or "/", settings["User"], shm_size, bound]
        self._output = tempfile.TemporaryFile("a+")  # noqa: SIM115, closed by `end`
        self._process = subprocess.Popen(
            [*network, "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", *start, *program],
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def log(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def wait_for(self, line: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while line not in self.log:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    def wait(self, seconds: float = 120) -> int:
        """The code that it ends with."""
        return self._process.wait(seconds)

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run `command` inside, as the image's user."""
        enter = ["nsenter", f"--target={self._first}", "--all", "--root", "--setuid=1000", "--setgid=1000"]
        return subprocess.run(
            [*enter, "env", "-i", *self._image.settings["Env"], *command], capture_output=True, text=True
        )

    def is_healthy(self) -> bool:
        """The verdict of the image's HEALTHCHECK."""
        kind, *command = self._image.settings["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(*command).returncode == 0

    def stop(self) -> None:
        """Send its first process SIGTERM, as engines do."""
        os.kill(self._first, signal.SIGTERM)

    @property
    def _first(self) -> int:
        return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text())

    def end(self) -> None:
        with suppress(ValueError, OSError):  # it has ended, or not begun
            os.kill(self._first, signal.SIGKILL)  # the change of user has undone --kill-child
        self._process.kill()
        self._process.wait()
        self._output.close()
        buildah("umount", self._name)
        buildah("rm", self._name)
