"""Processes, as Linux tells of them: those of Triton's Python models, and the bound on the memory of Triton's own."""

import contextlib
import os
import re
import resource
import signal
from pathlib import Path


def model_processes(triton: int) -> dict[int, str]:
    """Those below the process `triton`: process id and model."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int(file.read_text().rpartition(")")[2].split()[1])
            model = re.search(r"/(\w+)/\d+/model\.py\0", file.with_name("cmdline").read_text())
            if parent == triton and model:
                found[int(file.parent.name)] = model[1]
    return found


def end_processes(folder: str) -> None:
    """Kill those whose program lies in a folder of that name, such as "/name/"."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended, or is another user's
            if folder in file.read_text(errors="replace").partition("\0")[0]:
                os.kill(int(file.parent.name), signal.SIGKILL)


def dead_children(process: int) -> list[int]:
    """Processes below `process` that have ended, and that it has not noticed."""
    files = Path(f"/proc/{process}/task").glob("*/children")
    children = []
    with contextlib.suppress(OSError):  # a thread has just ended
        children = [int(child) for file in files for child in file.read_text().split()]
    return [child for child in children if not is_running(child)]


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def processor_seconds(process: int) -> float:
    """Seconds that its threads have run, or have waited for a processor; 0 where the kernel does not count them."""
    nanoseconds = 0
    for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has just ended
            ran, waited, _ = file.read_text().split()
            nanoseconds += int(ran) + int(waited)
    return nanoseconds / 1e9


def bound_memory(process: int, gibibytes: float) -> None:
    """Let `process` allocate so much more than it has now.

    Triton 2.51 allocates what the shape in a request says before it looks at the data: 150 bytes make it take 17 GB.
    With a bound such a request is an error, or ends Triton, which is then started again.

    RLIMIT_DATA counts private writable memory. What is shared with the models' processes, mapped files, and the address
    space that CUDA reserves do not count, so it may be narrow where RLIMIT_AS may not. Processes that `process` has
    started before have no limit.
    """
    with contextlib.suppress(OSError):  # it has just ended, which is told elsewhere
        status = Path(f"/proc/{process}/status").read_text()
        found = re.search(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)
        if found:
            limit = int(found[1]) * 1024 + int(gibibytes * 2**30)
            resource.prlimit(process, resource.RLIMIT_DATA, (limit, limit))
