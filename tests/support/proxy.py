"""Starts nginx for tests, as docker/nginx/configure.py configures it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.launching import Server, free_ports
from tests.support.tools import nginx_module, tool

CONFIGURE = Path(__file__).parents[2] / "docker/nginx/configure.py"


@dataclass(frozen=True)
class Proxy:
    """Addresses of an nginx, as host:port."""

    http_url: str
    grpc_url: str


@contextmanager
def running_nginx(folder: Path, servers: Sequence[Server], *options: str, quiet: bool = False) -> Iterator[Proxy]:
    """An nginx before `servers`, with options for configure.py; its files are in `folder`, its errors too if quiet."""
    proxy = Proxy(*(f"127.0.0.1:{port}" for port in free_ports(2)))
    configuration = folder / "nginx.conf"
    command = [sys.executable, str(CONFIGURE), *options, f"--folder={folder}"]
    command += [f"--js-module={nginx_module()}", f"--http-listen={proxy.http_url}", f"--grpc-listen={proxy.grpc_url}"]
    for server in servers:
        command.append(f"--server={server.http_url}:{server.grpc_url.rpartition(':')[2]}")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    configuration.write_text(done.stdout)
    with (folder / "access.log").open("w") as log:
        nginx = subprocess.Popen(
            [tool("nginx"), "-e", "stderr", "-c", str(configuration)], stdout=log, stderr=log if quiet else None
        )
    try:
        wait_until_listening(proxy.http_url, nginx)
        yield proxy
    finally:
        nginx.terminate()
        nginx.wait(timeout=30)


def wait_until_listening(url: str, process: "subprocess.Popen[bytes]") -> None:
    host, port = url.split(":")
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        assert process.poll() is None, "nginx has said why on standard error"
        assert time.monotonic() < deadline
        time.sleep(0.05)
