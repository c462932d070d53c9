"""Supervision: Triton starts anew, at the same addresses, when it is lost."""

import argparse
import contextlib
import threading
import time
from collections.abc import Callable

from launch_error import LaunchError
from server import Server, ServerLost
from triton_log import show
from triton_options import http_host

WITHIN = 600.0
"""Seconds for which a restart counts against --max-restarts."""
PAUSE = 0.05
"""Seconds between two looks at the server, and at whether it is to stop."""
MOST_IN_VAIN = 3
"""So many losses in a row, none of a server that was ready, are a fault that starting again does not mend."""


def supervise(start: Callable[[], Server], arguments: argparse.Namespace, stopping: threading.Event) -> None:
    """Keep a server running until `stopping` is set.

    Raises LaunchError if it does not start, or is lost again and again.
    """
    losses: list[float] = []  # times
    in_vain = 0
    while True:
        server = start()
        try:
            _serve(server, arguments, stopping)
            server.stop()
            return
        except ServerLost as loss:
            now = time.monotonic()
            losses = [lost for lost in (*losses, now) if lost > now - WITHIN]
            in_vain = 0 if server.was_ready else in_vain + 1
            if len(losses) > arguments.max_restarts or in_vain == MOST_IN_VAIN:
                raise LaunchError(
                    f"{loss}, after {len(losses) - 1} restarts in {WITHIN / 60:g} minutes: see --verbose"
                ) from loss
            show(f"launcher: {loss}: starting Triton again\n")
        finally:
            server.kill()


def _serve(server: Server, arguments: argparse.Namespace, stopping: threading.Event) -> None:
    """Run `server` until `stopping` is set. Raises LaunchError or ServerLost."""
    server.wait_until_ready(stopping)
    if not stopping.is_set():
        grpc = "grpcs" if arguments.tls_cert else "grpc"
        with contextlib.suppress(OSError):  # a full disk, or nobody who reads
            print(
                f"ready: http://{http_host(arguments)}:{arguments.http_port}  "
                f"{grpc}://{arguments.host}:{arguments.grpc_port}  "
                f"metrics http://{arguments.metrics_host}:{arguments.metrics_port}/metrics",
                flush=True,
            )
    while not stopping.wait(PAUSE):
        server.check_alive()
    server.drain()
