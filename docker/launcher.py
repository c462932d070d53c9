"""Starts Triton the same way everywhere, says when it can serve, and drains it before it stops.

    python docker/launcher.py [--repository model_repository] [--http-port 8000] ...

Needs nothing but the standard library. A fault at the start is one line on standard error and exit code 1.
"""

import argparse
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import deque
from pathlib import Path

from installation import Installation, LaunchError, find_installation
from plans import check_plans

MODELS = ("diffusion", "text_to_image", "text_encoder", "unet", "vae_decoder")
MIN_SHARED_MEMORY = 128 * 2**20
"""Bytes of /dev/shm: tensors travel through it, and the 64 MB that containers get by default run out under load."""
EXIT_TIMEOUT = 30
"""Seconds that Triton takes at most to end by itself."""
KILL_TIMEOUT = 45
"""Seconds after which it is ended by force."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Start Triton with the diffusion model repository.")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="written by python -m export")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every interface")
    parser.add_argument("--http-port", type=int, default=8000, help="this and the other ports: 0 takes any free one")
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument("--metrics-port", type=int, default=8002)
    parser.add_argument("--ready-timeout", type=float, default=600, help="seconds to wait for the models to load")
    parser.add_argument("--drain-timeout", type=float, default=60, help="seconds that running requests get to finish")
    parser.add_argument(
        "--connection-age", type=float, default=0, help="seconds until gRPC clients must reconnect; 0: never"
    )
    parser.add_argument("--max-queue", type=_count, help="pictures that may wait, more are refused (default: 64)")
    parser.add_argument("--verbose", action="store_true", help="show all that Triton says while it loads")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no count: use a whole number from 0 on")
    return int(text)


def check_surroundings(arguments: argparse.Namespace) -> None:
    """Find what Triton would stumble over later, and less clearly. Raises LaunchError."""
    check_plans(arguments.repository)
    for model in MODELS:
        if not (arguments.repository / model / "config.pbtxt").exists():
            raise LaunchError(
                f"{arguments.repository / model} is missing or has no config.pbtxt: "
                "write the repository with `python -m export CHECKPOINT`"
            )
    free = shutil.disk_usage("/dev/shm").free
    if free < MIN_SHARED_MEMORY:
        raise LaunchError(
            f"/dev/shm has {free / 2**20:.0f} MiB free, {MIN_SHARED_MEMORY / 2**20:.0f} are needed: "
            "give the container more (docker run --shm-size=1g) or remove what fills it"
        )


def take_ports(arguments: argparse.Namespace) -> None:
    """Replace ports of 0 by free ones, and check that the others are free. Raises LaunchError."""
    probes = []
    for name in ("http_port", "grpc_port", "metrics_port"):
        port = getattr(arguments, name)
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for Triton
        probes.append(probe)  # held until all are chosen, or one could be chosen twice
        try:
            probe.bind((arguments.host, port))
            probe.listen()  # with SO_REUSEADDR, only this tells that another process listens
        except OSError as error:
            raise LaunchError(
                f"cannot listen on {arguments.host}:{port} ({error.strerror}): stop what uses the port, "
                f"or choose another with --{name.replace('_', '-')}"
            ) from error
        setattr(arguments, name, probe.getsockname()[1])
    for probe in probes:
        probe.close()


class Server:
    """A running tritonserver."""

    def __init__(self, installation: Installation, arguments: argparse.Namespace, drain_file: Path) -> None:
        self._arguments = arguments
        self._drain_file = drain_file
        self._early_log: deque[str] = deque(maxlen=2000)
        self._show_log = arguments.verbose
        command = [
            str(installation.binary),
            f"--model-repository={arguments.repository.resolve()}",
            f"--backend-directory={installation.backends}",
            "--disable-auto-complete-config",
            f"--http-address={arguments.host}",
            f"--grpc-address={arguments.host}",
            f"--metrics-address={arguments.host}",
            f"--http-port={arguments.http_port}",
            f"--grpc-port={arguments.grpc_port}",
            f"--metrics-port={arguments.metrics_port}",
            f"--exit-timeout-secs={EXIT_TIMEOUT}",
            # Calls that run are not cut off: Triton sets them no limit.
            *([f"--grpc-max-connection-age={arguments.connection_age * 1000:.0f}"] if arguments.connection_age else []),
            *([] if arguments.verbose else ["--log-info=false"]),
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

    def _is_ready(self) -> bool:
        return _get(f"http://{self._address(self._arguments.http_port)}/v2/health/ready") is not None

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
        errors = re.findall(r"^(?:E\d{4}.*?\] |error: )(.+)$", log, re.MULTILINE)
        return f"Triton ended with code {self._process.returncode}: {errors[-1] if errors else 'see --verbose'}"

    def check_alive(self) -> None:
        """Raises LaunchError where Triton has ended by itself."""
        if self._process.poll() is not None:
            raise LaunchError(self._reason_for_exit())

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
        # Where Triton crashed, the processes of its Python models are still there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _requests_in_flight(self) -> float:
        metrics = _get(f"http://{self._address(self._arguments.metrics_port)}/metrics")
        found = re.search(r"^diffusion_requests_in_flight(?:\{.*\})? (\S+)$", metrics or "", re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def _address(self, port: int) -> str:
        host = "127.0.0.1" if self._arguments.host == "0.0.0.0" else self._arguments.host
        return f"{host}:{port}"


def _settings_of_diffusion(arguments: argparse.Namespace, drain_file: Path) -> dict[str, str]:
    """What model_repository/diffusion/1/model.py reads from its environment."""
    settings = {"TRITON_DIFFUSION_DRAIN_FILE": str(drain_file)}
    if arguments.max_queue is not None:
        settings["TRITON_DIFFUSION_MAX_QUEUE"] = str(arguments.max_queue)
    return settings


def _get(url: str) -> str | None:
    """The body of `url`, or None where it does not answer with success."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()
    except OSError:
        return None


def _end_with_parent() -> None:
    """In the child: ask the kernel to end Triton should the launcher be killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def main() -> int:
    arguments = parse_arguments()
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    with tempfile.TemporaryDirectory(prefix="triton-diffusion-") as workspace:
        try:
            installation = find_installation(Path(workspace))
            check_surroundings(arguments)
            take_ports(arguments)
            serve(Server(installation, arguments, Path(workspace) / "draining"), arguments, stopping)
        except LaunchError as error:
            print(f"launcher: {error}", file=sys.stderr)
            return 1
    return 0


def serve(server: Server, arguments: argparse.Namespace, stopping: threading.Event) -> None:
    """Run `server` until `stopping` is set. Raises LaunchError where it does not start, or ends by itself."""
    try:
        server.wait_until_ready(stopping)
        if not stopping.is_set():
            print(
                f"ready: http://{arguments.host}:{arguments.http_port}  grpc://{arguments.host}:{arguments.grpc_port}  "
                f"metrics http://{arguments.host}:{arguments.metrics_port}/metrics",
                flush=True,
            )
        while not stopping.wait(0.2):
            server.check_alive()
        server.drain()
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
