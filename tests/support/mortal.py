"""A server of a test's own that may die: it is started again, and its deaths are counted."""

import resource
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.launching import Server, launch, wait_until_ready

MEMORY = 6 * 2**30  # bytes that each process may take: it shall end, and not the machine
PATIENCE = 30.0  # seconds in which the launcher may bring Triton back itself


class MortalServer:
    """Triton with its launcher, on ports that change where the launcher itself must be started again."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.deaths = 0
        self._start()

    def _start(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, limits[1]))  # its processes inherit it
        try:
            self._launcher = launch(self.repository, stderr=subprocess.DEVNULL)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        self.server: Server = wait_until_ready(self._launcher)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.server.http_url}/v2/health/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def mend(self) -> None:
        """Wait until it is ready again, or start it."""
        if self.is_ready():
            return
        self.deaths += 1
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            if self._launcher.poll() is not None or time.monotonic() > deadline:
                self.stop()
                self._start()
                return
            time.sleep(0.1)

    def stop(self) -> None:
        self._launcher.terminate()
        try:
            self._launcher.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._launcher.kill()
            self._launcher.wait()


@contextmanager
def mortal_server(repository: Path) -> Iterator[MortalServer]:
    mortal = MortalServer(repository)
    try:
        yield mortal
    finally:
        mortal.stop()
