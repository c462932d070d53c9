"""Servers that are killed, stopped in good order, and started again at the same addresses."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.launching import Server, launch, wait_until_ready
from tests.support.processes import processes_of_models, triton_of

SHARED_MEMORY = Path("/dev/shm")
END_TIMEOUT = 120  # seconds; a launcher drains its server before it ends it


class Replica:
    """A launcher with its server."""

    def __init__(self, repository: Path, *options: str, log: IO[str] | None = None) -> None:
        """`options` are the launcher's; `log` takes what it and Triton say, else it goes to standard error."""
        self._repository = repository
        self._options = options
        self._log = log
        self._server: Server | None = None
        self._regions: set[str] = set()  # what the names of shared memory begin with, of every server so far
        self.begin()

    @property
    def server(self) -> Server:
        """The addresses, once `wait` has returned; they stay the same."""
        assert self._server is not None, "wait() first"
        return self._server

    def begin(self) -> None:
        """Start it, or start it again; `wait` returns when it is ready."""
        stderr = None if self._log is None else self._log.fileno()
        options = [*self._options, *([] if self._server is None else _ports(self._server))]
        self.launcher = launch(self._repository, *options, stderr=stderr)

    def wait(self) -> None:
        """Raises ChildProcessError with the launcher's reason where it gives up."""
        try:
            self._server = wait_until_ready(self.launcher)
        except ChildProcessError:
            if self._log is None:
                raise
            said = Path(self._log.name).read_text().strip().splitlines()
            raise ChildProcessError(said[-1] if said else "the launcher ended without a word") from None

    def start(self) -> None:
        self.begin()
        self.wait()

    def kill(self) -> None:
        """End it as the loss of its machine does: launcher and server, without a word to anybody."""
        self.launcher.kill()
        self.launcher.wait(END_TIMEOUT)

    def kill_triton(self, signal_number: int = signal.SIGKILL) -> None:
        """End Triton as a crash does; the launcher starts another."""
        os.kill(triton_of(self.launcher.pid), signal_number)

    def kill_model(self, model: str) -> None:
        """End the process of a Python model as a crash does."""
        os.kill(processes_of_models(self.launcher.pid)[model], signal.SIGKILL)

    def shared_memory(self) -> int:
        """Bytes of /dev/shm that the server has, and that those before it have left behind."""
        command = Path(f"/proc/{triton_of(self.launcher.pid)}/cmdline").read_text()
        self._regions |= set(re.findall(r"shm-region-prefix-name=(\w+)", command))
        return sum(file.stat().st_size for name in self._regions for file in SHARED_MEMORY.glob(f"{name}*"))

    def stop(self) -> None:
        """End it in good order."""
        self.launcher.terminate()
        self.launcher.wait(END_TIMEOUT)


@contextmanager
def replicas(repository: Path, count: int, *options: str, log: IO[str] | None = None) -> Iterator[list[Replica]]:
    """So many servers, started together and ready."""
    started: list[Replica] = []
    try:
        for _ in range(count):
            started.append(Replica(repository, *options, log=log))
        for replica in started:
            replica.wait()
        yield started
    finally:
        for replica in started:
            replica.launcher.terminate()
        for replica in started:
            replica.launcher.wait(END_TIMEOUT)


def _ports(server: Server) -> list[str]:
    """The options that start a launcher at the same addresses."""
    urls = {"http": server.http_url, "grpc": server.grpc_url, "metrics": server.metrics_url}
    return [f"--{name}-port={url.rpartition(':')[2]}" for name, url in urls.items()]
