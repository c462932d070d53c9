"""Starts the launcher and the gateway for tests, on free ports."""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ADMIN_KEY = secrets.token_hex(32)  # of every server that is launched here
ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "docker/launcher.py"
ALL_CORES = "--threads=0"
"""The option of a server that is measured: as many threads a call as users get."""
COMMAND = [sys.executable, "-c", "from triton_diffusion.cli import app; app()"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "client"), "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Server:
    """Addresses of a server, as host:port."""

    http_url: str
    grpc_url: str
    metrics_url: str

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over its other labels."""
        with urllib.request.urlopen(f"http://{self.metrics_url}/metrics", timeout=10) as response:
            text = response.read().decode()
        found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for given, value in found if all(f'{k}="{v}"' in given for k, v in labels.items()))

    def wait_until_idle(self, seconds: float = 20) -> None:
        """Return once no request is left in it."""
        deadline = time.monotonic() + seconds
        while self.metric("diffusion_requests_in_flight"):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def steps_until_idle(self) -> float:
        """Denoiser calls that it has made once no request is left in it."""
        self.wait_until_idle(60)
        return self.metric("diffusion_denoiser_steps_total")


def launch(repository: Path, *options: str, stderr: int | None = None) -> subprocess.Popen[str]:
    """Start the launcher on free ports, with one thread a call, as other tests need the other core; the caller ends it.
    `stderr` as for Popen; a pipe must be read."""
    ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
    command = [sys.executable, str(LAUNCHER), f"--repository={repository}", "--threads=1", *ports, *options]
    environment = os.environ | {"TRITON_DIFFUSION_ADMIN_KEY": ADMIN_KEY}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)


def wait_until_ready(launcher: subprocess.Popen[str]) -> Server:
    """The addresses that the launcher prints once every model is ready. Raises ChildProcessError where it gives up."""
    assert launcher.stdout is not None
    line = launcher.stdout.readline()
    if not line.startswith("ready"):
        raise ChildProcessError("the launcher started no server: it has said why on standard error")
    return Server(*re.findall(r"[\d.]+:\d+", line))


@contextmanager
def gateway(*options: str, log: IO[str] | None = None) -> Iterator[tuple[str, str]]:
    """The command `triton-diffusion gateway` with `options`, on a free port: its address, and the line that it begins
    with. Its log goes to standard error, or to `log`."""
    process = subprocess.Popen(
        [*COMMAND, "gateway", "--port", "0", *options], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=log, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        scheme = "https" if any(option.startswith("--listen-cert") for option in options) else "http"
        assert line.startswith(f"{scheme}://"), "the gateway has said why on standard error"
        yield line.split("/v1 ")[0], line
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:  # held until all are chosen
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
