"""One tritonserver: command line, log, readiness, draining and end."""

import argparse
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from health_check import HealthCheck, grpc_is_live, http_text
from installation import Installation
from launch_error import LaunchError
from options import LOOPBACK
from processes import bound_memory, dead_children, is_running, model_processes, processor_seconds
from repository import Served
from triton_log import WRITE_AGAIN, TritonLog, exit_reason, load_failure, stub_reason, thrown_error
from triton_options import http_host, triton_options
from workspace import remove_shared_memory

KILL_TIMEOUT = 10
"""Seconds after which a Triton that is to end is killed: the requests are done by then, but it waits for idle clients
of HTTP."""
ABORT_TIMEOUT = 2
"""Seconds that a Triton which aborts may take to end: half a second on two cores."""
STUB_GRACE = 5
"""Seconds in which Triton itself says that the process of a model has ended while it was loaded, if it notices."""
UTF_8 = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
"""For the children's Python: a checkpoint's files, or the folder of its packages, may have names beyond ASCII."""


class ServerLost(Exception):
    """A Triton that has crashed or hangs, or has lost the process of a Python model.

    Triton 2.51 never answers the requests that were in such a process.
    """


class Server:
    """A running tritonserver."""

    def __init__(
        self, installation: Installation, arguments: argparse.Namespace, served: Served, workspace: Path
    ) -> None:
        """`workspace` has a name that is a prefix of nobody else's shared memory."""
        self._arguments = arguments
        self._drain_file = workspace / "draining"
        self._shared_memory = f"{workspace.name}_"
        self._health: HealthCheck | None = None  # once it is ready
        self._model_processes: dict[int, str] = {}  # the model by process id
        self._stub_dead_since: float | None = None
        command = [
            str(installation.binary),
            f"--model-repository={served.models}",
            f"--backend-directory={installation.backends}",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
            *triton_options(arguments, installation.options),
        ]
        self._process = subprocess.Popen(
            command,
            env={
                **os.environ,
                **UTF_8,
                **installation.environment,
                **_settings_of_models(arguments, served, self._drain_file),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which drains first
            preexec_fn=_end_with_parent,
        )
        assert self._process.stdout is not None
        places = re.compile("|".join(re.escape(str(place)) for place in (served.link, served.models)))
        known = str(arguments.repository)  # to users, who never see the links
        lines = (places.sub(lambda found: known, line) for line in self._process.stdout)
        self._log = TritonLog(lines, arguments.verbose)

    def wait_until_ready(self, stopping: threading.Event) -> None:
        """Return when every model is loaded and warm, or `stopping` is set. Raises LaunchError or ServerLost."""
        deadline = time.monotonic() + self._arguments.ready_timeout
        while http_text(self._http_url("v2/health/ready")) is None:
            if stopping.wait(0.05):
                return
            self.check_alive()
            self._check_stubs()
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"the models were not ready after {self._arguments.ready_timeout:g} s: "
                    "allow more with --ready-timeout, or look at what they do with --verbose"
                )
        self.check_alive()  # it was this Triton that answered
        self._log.shown = True
        self._model_processes = model_processes(self._process.pid)
        bound_memory(self._process.pid, self._arguments.request_memory)
        self._health = HealthCheck(
            *self._health_questions(), processor_seconds=lambda: processor_seconds(self._process.pid)
        )

    @property
    def was_ready(self) -> bool:
        return self._health is not None

    def check_alive(self) -> None:
        """Raises ServerLost if Triton crashed or hangs, or the process of one of its models has died; LaunchError if
        Triton has ended by itself."""
        dead = self._dead_model()
        code = self._process.poll()
        if code is None and dead and thrown_error(self._log.text()):  # Triton ends itself, and its models went first
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=ABORT_TIMEOUT)
        if code is not None:
            self._end_stubs()  # those that a crash leaves behind hold the log open
            log = self._log.text(wait=2)
            if not self.was_ready and (failure := load_failure(log)):
                raise LaunchError(failure)
            reason = exit_reason(code, log)
            raise ServerLost(reason) if code < 0 or self.was_ready else LaunchError(reason)
        if self._health and self._health.unanswered > self._arguments.health_timeout:
            raise ServerLost(f"Triton has not answered its health check for {self._arguments.health_timeout:g} s")
        if dead:
            raise ServerLost(f"the process of model {dead} has died")

    def _dead_model(self) -> str | None:
        """A model whose process has died since all were ready."""
        if not self.was_ready:
            return None
        return next((model for process, model in self._model_processes.items() if not is_running(process)), None)

    def _check_stubs(self) -> None:
        """Raises LaunchError if a model's process has ended while it was loaded, and Triton waits for it in vain."""
        self._model_processes |= model_processes(self._process.pid)
        dead = dead_children(self._process.pid)
        if not dead:
            self._stub_dead_since = None
            return
        self._stub_dead_since = self._stub_dead_since or time.monotonic()
        if time.monotonic() - self._stub_dead_since > STUB_GRACE:
            reason = stub_reason(self._log.text()) or "see --verbose"
            model = self._model_processes.get(dead[0])
            raise LaunchError(
                f"the process of {f'model {model}' if model else 'a model'} ended while it was loaded ({reason}): "
                f"{WRITE_AGAIN}"
            )

    def _health_questions(self) -> list[Callable[[], bool]]:
        """Over HTTP, and over gRPC unless that wants TLS."""
        http = self._http_url("v2/health/live")
        host, port = _local(self._arguments.host), self._arguments.grpc_port
        over_http = [lambda: http_text(http) is not None]
        return over_http if self._arguments.tls_cert else [*over_http, lambda: grpc_is_live(host, port)]

    def drain(self) -> None:
        """Refuse new requests and let the running ones finish."""
        self._drain_file.touch()
        deadline = time.monotonic() + self._arguments.drain_timeout
        while self._requests_in_flight() > 0 and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        """End Triton in good order; `kill` ends what does not."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=KILL_TIMEOUT)

    def kill(self) -> None:
        """End Triton at once, and remove what it leaves: the processes of its Python models and shared memory.

        Clients see their connections close.
        """
        if self._health:
            self._health.close()
        self._process.kill()
        self._process.wait()
        self._end_stubs()
        remove_shared_memory(self._shared_memory)

    def _end_stubs(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _http_url(self, path: str) -> str:
        return f"http://{_local(http_host(self._arguments))}:{self._arguments.http_port}/{path}"

    def _requests_in_flight(self) -> float:
        metrics = http_text(f"http://{_local(self._arguments.metrics_host)}:{self._arguments.metrics_port}/metrics")
        found = re.search(r"^diffusion_requests_in_flight(?:\{.*\})? (\S+)$", metrics or "", re.MULTILINE)
        return float(found.group(1)) if found else 0.0


def _settings_of_models(arguments: argparse.Namespace, served: Served, drain_file: Path) -> dict[str, str]:
    """The environment variables that model_repository/diffusion/1/model.py and the networks read."""
    settings = {
        "TRITON_DIFFUSION_DRAIN_FILE": str(drain_file),
        "TRITON_DIFFUSION_THREADS": str(arguments.threads),
    }
    if arguments.max_queue is not None:
        settings["TRITON_DIFFUSION_MAX_QUEUE"] = str(arguments.max_queue)
    if served.in_process:
        settings["TRITON_DIFFUSION_NETWORKS"] = str(served.link)
    return settings


def _local(host: str) -> str:
    """The address for this machine's own use."""
    return LOOPBACK if host == "0.0.0.0" else host


def _end_with_parent() -> None:
    """In the child: ask the kernel to kill Triton should the launcher be killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
