"""What processes use: memory, open files, threads and shared memory, as Linux tells it."""

import re
from pathlib import Path

from tests.support.processes import children, processes_of_models, triton_of
from tests.support.replicas import Replica

MEMORY, FILES, THREADS, SHARED = "memory", "open files", "threads", "/dev/shm"
MEBIBYTE = 2**20


def usage(process: int) -> dict[str, float]:
    """Resident memory in MiB, open files and threads. Raises OSError where the process has ended."""
    folder = Path(f"/proc/{process}")
    status = (folder / "status").read_text()
    resident, threads = (int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1]) for name in ("VmRSS", "Threads"))  # type: ignore[index]
    return {MEMORY: resident / 1024, FILES: len(list((folder / "fd").iterdir())), THREADS: threads}


class Watched:
    """The processes of a server, by name, and others beside it. Counts how often Triton or a model's process is
    another one than before."""

    def __init__(self, replica: Replica, others: dict[str, int]) -> None:
        """`others`: process ids by name."""
        self.restarts = 0
        self._replica = replica
        self._others = others
        self._known: dict[str, int] = {}

    def sample(self) -> dict[str, dict[str, float]]:
        """By process and quantity. Raises OSError or ValueError while the server starts again."""
        launcher = self._replica.launcher.pid
        triton = triton_of(launcher)
        models = {f"model {name}": process for name, process in processes_of_models(launcher).items()}
        processes = {"launcher": launcher, "tritonserver": triton, **models, **self._others}
        found = {name: usage(process) for name, process in processes.items()}
        self.restarts += sum(self._known.get(name, process) != process for name, process in processes.items())
        self._known = processes
        found["tritonserver"][SHARED] = self._replica.shared_memory() / MEBIBYTE
        return found


def child_with(argument: str, parent: int) -> int:
    """The child of `parent` that has `argument` in its command line."""
    (found,) = [
        child for child in children(parent) if argument in Path(f"/proc/{child}/cmdline").read_text().split("\0")
    ]
    return found
