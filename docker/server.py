"""One tritonserver: command line, log, readiness, draining and end."""

import argparse
import contextlib
import ctypes
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from pathlib import Path

from installation import Installation
from launch_error import LaunchError
from options import LOOPBACK
from triton_options import http_host, triton_options

KILL_TIMEOUT = 20
"""Seconds after which it is ended by force."""
SHARED_MEMORY = Path("/dev/shm")


class ModelLost(Exception):
    """The process of a Python model has died. Triton 2.51 never answers the requests that were in it."""


class Server:
    """A running tritonserver."""

    def __init__(self, installation: Installation, arguments: argparse.Namespace, drain_file: Path) -> None:
        self._arguments = arguments
        self._drain_file = drain_file
        self._early_log: deque[str] = deque(maxlen=2000)
        self._show_log = arguments.verbose
        self._region_prefix = f"triton_diffusion_{os.getpid()}_{secrets.token_hex(4)}_"
        self._model_processes: dict[int, str] = {}  # the model by process id
        command = [
            str(installation.binary),
            f"--model-repository={arguments.repository.resolve()}",
            f"--backend-directory={installation.backends}",
            f"--backend-config=python,shm-region-prefix-name={self._region_prefix}",
            *triton_options(arguments, installation.options),
        ]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **installation.environment, **_settings_of_diffusion(arguments, drain_file)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which drains first
            preexec_fn=_end_with_parent,
        )
        self._log_reader = threading.Thread(target=self._read_log, daemon=True)
        self._log_reader.start()

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._early_log.append(line)
            if self._show_log:
                sys.stderr.write(line)

    def wait_until_ready(self, stopping: threading.Event) -> None:
        """Return when every model is loaded and warm, or `stopping` is set. Raises LaunchError."""
        deadline = time.monotonic() + self._arguments.ready_timeout
        while not self._is_ready():
            if stopping.wait(0.1):
                return
            self.check_alive()
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"the models were not ready after {self._arguments.ready_timeout:g} s: "
                    "allow more with --ready-timeout, or look at what they do with --verbose"
                )
        self._show_log = True
        self._model_processes = _model_processes(self._process.pid)

    def _is_ready(self) -> bool:
        return _get(_url(http_host(self._arguments), self._arguments.http_port, "v2/health/ready")) is not None

    def _reason_for_exit(self) -> str:
        """The line of Triton's log that says why it ended."""
        self._log_reader.join(timeout=2)  # a crash can leave a stub behind that holds the log open
        log = "".join(self._early_log)
        failed = re.search(r"failed to load '(\w+)' version \d+: (.+)", log)
        if failed:
            model, reason = failed.groups()
            return (
                f"model {model} does not load ({reason.strip()}): "
                "write the repository again with `python -m export CHECKPOINT`, or see --verbose"
            )
        errors = re.findall(r"^(?:E\d{4}.*?\] |error: |(?=Bad option))(.+)$", log, re.MULTILINE)
        return f"Triton ended with code {self._process.returncode}: {errors[-1] if errors else 'see --verbose'}"

    def check_alive(self) -> None:
        """Raises LaunchError if Triton has ended by itself, ModelLost if the process of one of its models has."""
        if self._process.poll() is not None:
            raise LaunchError(self._reason_for_exit())
        for process, model in self._model_processes.items():
            if not _is_running(process):
                raise ModelLost(f"the process of model {model} has died")

    def drain(self) -> None:
        """Refuse new requests and let the running ones finish."""
        self._drain_file.touch()
        deadline = time.monotonic() + self._arguments.drain_timeout
        while self._requests_in_flight() > 0 and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        """End Triton and the processes of its models, by force if they do not."""
        self._process.terminate()
        try:
            self._process.wait(timeout=KILL_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._clear_away()

    def kill(self) -> None:
        """End Triton at once. Clients see their connections close."""
        self._process.kill()
        self._process.wait()
        self._clear_away()

    def _clear_away(self) -> None:
        """End and remove what a Triton that crashed leaves: the processes of its Python models and shared memory."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for region in SHARED_MEMORY.glob(f"{self._region_prefix}*"):
            region.unlink(missing_ok=True)

    def _requests_in_flight(self) -> float:
        metrics = _get(_url(self._arguments.metrics_host, self._arguments.metrics_port, "metrics"))
        found = re.search(r"^diffusion_requests_in_flight(?:\{.*\})? (\S+)$", metrics or "", re.MULTILINE)
        return float(found.group(1)) if found else 0.0


def _settings_of_diffusion(arguments: argparse.Namespace, drain_file: Path) -> dict[str, str]:
    """The environment variables that model_repository/diffusion/1/model.py reads."""
    settings = {"TRITON_DIFFUSION_DRAIN_FILE": str(drain_file)}
    if arguments.max_queue is not None:
        settings["TRITON_DIFFUSION_MAX_QUEUE"] = str(arguments.max_queue)
    return settings


def _url(host: str, port: int, path: str) -> str:
    """The address for this machine's own use."""
    return f"http://{LOOPBACK if host == '0.0.0.0' else host}:{port}/{path}"


def _get(url: str) -> str | None:
    """The body of `url`, or None if it does not answer with success."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()
    except OSError:
        return None


def _model_processes(triton: int) -> dict[int, str]:
    """The processes of Python models below the process `triton`: process id and model."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int(file.read_text().rpartition(")")[2].split()[1])
            model = re.search(r"/(\w+)/\d+/model\.py\0", file.with_name("cmdline").read_text())
            if parent == triton and model:
                found[int(file.parent.name)] = model[1]
    return found


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _end_with_parent() -> None:
    """In the child: ask the kernel to end Triton should the launcher be killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
