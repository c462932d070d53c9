"""Starts Triton the same way everywhere, says when it can serve, and drains it before it stops.

    python docker/launcher.py [--repository model_repository] [--http-port 8000] ...

Needs nothing but the standard library. A fault at the start is one line on standard error and exit code 1.
"""

import argparse
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

from installation import LaunchError, find_installation
from plans import check_plans
from server import ModelLost, Server

MODELS = ("diffusion", "text_to_image", "text_encoder", "unet", "vae_decoder")
MIN_SHARED_MEMORY = 128 * 2**20
"""Bytes of /dev/shm: tensors travel through it, and the 64 MB that containers get by default run out under load."""
MOST_LOSSES, WITHIN = 5, 600.0
"""So many lost models within so many seconds are a fault that starting again does not mend."""


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
            supervise(lambda: Server(installation, arguments, Path(workspace) / "draining"), arguments, stopping)
        except LaunchError as error:
            print(f"launcher: {error}", file=sys.stderr)
            return 1
    return 0


def supervise(start: Callable[[], Server], arguments: argparse.Namespace, stopping: threading.Event) -> None:
    """Keep a server running until `stopping` is set; start another where the process of a model has died.

    Raises LaunchError where it does not start, ends by itself, or loses models again and again.
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
        print(
            f"ready: http://{arguments.host}:{arguments.http_port}  grpc://{arguments.host}:{arguments.grpc_port}  "
            f"metrics http://{arguments.host}:{arguments.metrics_port}/metrics",
            flush=True,
        )
    while not stopping.wait(0.2):
        server.check_alive()
    server.drain()


if __name__ == "__main__":
    sys.exit(main())
