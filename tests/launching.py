"""Starts the launcher for tests, on free ports."""

import os
import re
import secrets
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ADMIN_KEY = secrets.token_hex(32)  # of every server that is launched here
LAUNCHER = Path(__file__).parents[1] / "docker/launcher.py"


@dataclass(frozen=True)
class Server:
    """Where a server listens, as host:port."""

    http_url: str
    grpc_url: str
    metrics_url: str

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over its other labels."""
        with urllib.request.urlopen(f"http://{self.metrics_url}/metrics", timeout=10) as response:
            text = response.read().decode()
        found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for given, value in found if all(f'{k}="{v}"' in given for k, v in labels.items()))


def launch(repository: Path, *options: str, stderr: int | None = None) -> subprocess.Popen[str]:
    """Start the launcher on free ports; the caller ends it. `stderr` as for Popen; a pipe must be read."""
    ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    command = [sys.executable, str(LAUNCHER), f"--repository={repository}", *ports, *options]
    environment = os.environ | {"TRITON_DIFFUSION_ADMIN_KEY": ADMIN_KEY}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


def wait_until_ready(launcher: subprocess.Popen[str]) -> Server:
    """The addresses that the launcher prints once every model is ready. Raises ChildProcessError where it gives up."""
    assert launcher.stdout is not None
    line = launcher.stdout.readline()
    if not line.startswith("ready"):
        raise ChildProcessError("the launcher started no server: it has said why on standard error")
    return Server(*re.findall(r"[\d.]+:\d+", line))
