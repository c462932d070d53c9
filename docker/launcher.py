"""Starts Triton the same way everywhere, says when it can serve, and drains it before it stops.

    python docker/launcher.py [--repository model_repository] [--http-port 8000] ...

Needs nothing but the standard library. A fault at the start is one line on standard error and exit code 1.
"""

import argparse
import json
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from installation import find_installation
from launch_error import LaunchError
from options import parse_arguments
from plans import check_plans
from server import ModelLost, Server
from triton_options import http_host

MODELS = ("diffusion", "text_to_image")
"""The models of every repository; the networks beside them differ by checkpoint."""
WRITE = "write the repository with `python -m export CHECKPOINT`"
MIN_SHARED_MEMORY = 128 * 2**20
"""Bytes of /dev/shm: tensors travel through it, and the 64 MB that containers get by default run out under load."""
MOST_LOSSES, WITHIN = 5, 600.0
"""So many lost models within so many seconds are a fault that starting again does not mend."""


def check_surroundings(arguments: argparse.Namespace) -> None:
    """Find what Triton would stumble over later, and less clearly. Raises LaunchError."""
    check_plans(arguments.repository)
    for model in (*MODELS, *read_networks(arguments.repository)):
        if not (arguments.repository / model / "config.pbtxt").exists():
            raise LaunchError(f"{arguments.repository / model} is missing or has no config.pbtxt: {WRITE}")
    free = shutil.disk_usage("/dev/shm").free
    if free < MIN_SHARED_MEMORY:
        raise LaunchError(
            f"/dev/shm has {free / 2**20:.0f} MiB free, {MIN_SHARED_MEMORY / 2**20:.0f} are needed: "
            "give the container more (docker run --shm-size=1g) or remove what fills it"
        )


def read_networks(repository: Path) -> list[str]:
    """Names of the networks that the export lists in `repository`. Raises LaunchError."""
    checkpoint = repository / "diffusion/1/checkpoint.json"
    try:
        return list(json.loads(checkpoint.read_text())["networks"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise LaunchError(f"{checkpoint} is missing or lists no networks: {WRITE}") from error


def take_ports(arguments: argparse.Namespace) -> None:
    """Replace ports of 0 by free ones, and check that the others are free. Raises LaunchError."""
    probes = []
    hosts = {"http_port": http_host(arguments), "grpc_port": arguments.host, "metrics_port": arguments.metrics_host}
    for name, host in hosts.items():
        port = getattr(arguments, name)
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for Triton
        probes.append(probe)  # held until all are chosen, or one could be chosen twice
        try:
            probe.bind((host, port))
            probe.listen()  # with SO_REUSEADDR, only this tells that another process listens
        except OSError as error:
            raise LaunchError(
                f"cannot listen on {host}:{port} ({error.strerror}): stop what uses the port, "
                f"or choose another with --{name.replace('_', '-')}"
            ) from error
        setattr(arguments, name, probe.getsockname()[1])
    for probe in probes:
        probe.close()


def main() -> int:
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    with tempfile.TemporaryDirectory(prefix="triton-diffusion-") as workspace:
        try:
            arguments = parse_arguments()
            installation = find_installation(Path(workspace))
            check_surroundings(arguments)
            take_ports(arguments)
            supervise(lambda: Server(installation, arguments, Path(workspace) / "draining"), arguments, stopping)
        except LaunchError as error:
            print(f"launcher: {error}", file=sys.stderr)
            return 1
    return 0


def supervise(start: Callable[[], Server], arguments: argparse.Namespace, stopping: threading.Event) -> None:
    """Keep a server running until `stopping` is set; start another if the process of a model has died.

    Raises LaunchError if it does not start, ends by itself, or loses models again and again.
    """
    losses: deque[float] = deque(maxlen=MOST_LOSSES)
    while True:
        server = start()
        try:
            serve(server, arguments, stopping)
            return
        except ModelLost as loss:
            server.kill()
            losses.append(time.monotonic())
            if len(losses) == MOST_LOSSES and losses[-1] - losses[0] < WITHIN:
                raise LaunchError(
                    f"{loss}, the {MOST_LOSSES}th time in {WITHIN / 60:g} minutes: see --verbose"
                ) from loss
            print(f"launcher: {loss}: starting Triton again", file=sys.stderr, flush=True)
        finally:
            server.stop()


def serve(server: Server, arguments: argparse.Namespace, stopping: threading.Event) -> None:
    """Run `server` until `stopping` is set. Raises LaunchError or ModelLost."""
    server.wait_until_ready(stopping)
    if not stopping.is_set():
        grpc = "grpcs" if arguments.tls_cert else "grpc"
        print(
            f"ready: http://{http_host(arguments)}:{arguments.http_port}  "
            f"{grpc}://{arguments.host}:{arguments.grpc_port}  "
            f"metrics http://{arguments.metrics_host}:{arguments.metrics_port}/metrics",
            flush=True,
        )
    while not stopping.wait(0.2):
        server.check_alive()
    server.drain()


if __name__ == "__main__":
    sys.exit(main())
