"""The processes of Triton's Python models, as Linux tells of them."""

import contextlib
import re
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
