"""Starts Triton the same way everywhere, says when it can serve, starts it again when it is lost, drains it to stop.

    python docker/launcher.py [--repository model_repository] [--http-port 8000] ...

Needs nothing but the standard library. A fault at the start is one line on standard error and exit code 1.
"""

import argparse
import contextlib
import resource
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from installation import find_installation
from launch_error import LaunchError
from options import parse_arguments
from plans import check_plans
from repository import check_repository, compose
from server import Server
from supervision import supervise
from triton_log import finish_showing, show
from triton_options import http_host
from workspace import workspace

MIN_SHARED_MEMORY = 128 * 2**20
"""Bytes of /dev/shm: tensors travel through it, and the 64 MB that containers get by default run out under load."""
MIN_FILES = 256
"""Triton and a model's process open some 70 each, and one for every client."""


def check_surroundings(arguments: argparse.Namespace) -> None:
    """Find what Triton would stumble over later, and less clearly. Raises LaunchError."""
    check_plans(arguments.repository)
    check_repository(arguments.repository)
    free = shutil.disk_usage("/dev/shm").free
    if free < MIN_SHARED_MEMORY:
        raise LaunchError(
            f"/dev/shm has {free / 2**20:.0f} MiB free, {MIN_SHARED_MEMORY / 2**20:.0f} are needed: "
            "give the container more (docker run --shm-size=1g) or remove what fills it"
        )


def allow_open_files() -> None:
    """Allow this process and its children as many open files as the system lets. Raises LaunchError."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < MIN_FILES:
        raise LaunchError(
            f"{most} open files are allowed, {MIN_FILES} are needed: "
            "allow more with ulimit -n, or docker run --ulimit nofile=1024"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def reserved_ports(arguments: argparse.Namespace) -> Iterator[None]:
    """Replace ports of 0 by free ones, check that the others are free, and keep them from other launchers.

    Raises LaunchError.
    """
    hosts = {"http_port": http_host(arguments), "grpc_port": arguments.host, "metrics_port": arguments.metrics_host}
    with contextlib.ExitStack() as reserved:
        with contextlib.ExitStack() as probes:  # held until all are chosen, or one could be chosen twice
            for name, host in hosts.items():
                probe = probes.enter_context(socket.socket())
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one in TIME_WAIT is free for Triton
                port = getattr(arguments, name)
                try:
                    probe.bind((host, port))
                    probe.listen()  # with SO_REUSEADDR, only this tells that another process listens
                    setattr(arguments, name, probe.getsockname()[1])
                    # Triton listens only when the models are loaded. Until then, and while it starts again, other
                    # launchers find the port taken by this name, which the kernel frees with the process.
                    lock = reserved.enter_context(socket.socket(socket.AF_UNIX))
                    lock.bind(f"\0triton-diffusion {host}:{getattr(arguments, name)}")
                except OSError as error:
                    raise LaunchError(
                        f"cannot listen on {host}:{port} ({error.strerror}): stop what uses the port, "
                        f"or choose another with --{name.replace('_', '-')}"
                    ) from error
        yield


def main() -> int:
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    try:
        arguments = parse_arguments()
        with workspace() as folder:
            allow_open_files()
            installation = find_installation(folder)
            check_surroundings(arguments)
            served = compose(arguments.repository, arguments.networks, folder)
            with reserved_ports(arguments):
                supervise(lambda: Server(installation, arguments, served, folder), arguments, stopping)
    except LaunchError as error:
        show(f"launcher: {error}\n")
        return 1
    finally:
        finish_showing()
    return 0


if __name__ == "__main__":
    sys.exit(main())
