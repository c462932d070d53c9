"""Processes: those below another, as Linux tells it, and how a new one takes Ctrl-C."""

import re
import signal
from contextlib import suppress
from pathlib import Path


def children(process: int) -> list[int]:
    """Of all its threads."""
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def triton_of(launcher: int) -> int:
    """The tritonserver of a launcher."""
    (triton,) = children(launcher)
    return triton


def processes_of_models(launcher: int) -> dict[str, int]:
    """Those that run the Python models of a launcher's server, by model."""
    found = {}
    for process in children(triton_of(launcher)):
        with suppress(OSError):  # it has just ended
            command = Path(f"/proc/{process}/cmdline").read_text()
            if model := re.search(r"/(\w+)/\d+/model\.py\0", command):
                found[model[1]] = process
    return found


def heed_interrupts() -> None:
    """For `preexec_fn` of Popen: SIGINT interrupts the new process, also where the tests themselves ignore it, as
    everything does that a script starts in the background (`make test &`)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
