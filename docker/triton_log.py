"""Triton's log: passed on, kept for a while, and read for the reason why Triton has ended.

Who reads the launcher's standard error may be slow or stopped, and the disk of logs full. Triton and its models must
not wait for that, so lines then are left out.
"""

import contextlib
import queue
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable

NOISE = re.compile("CUDA|NVML|DCGM|GPU metrics", re.IGNORECASE)
"""In errors that every start on a machine without a GPU logs."""
TRACEBACK = r"\n\nAt:"
"""Where an error of a Python model goes on with its traceback, as Triton escapes it."""
WRITE_AGAIN = "write the repository again with `python -m export CHECKPOINT`, or see --verbose"


MOST_WAITING = 2000
"""Lines that wait for a slow reader; more are left out."""


class TritonLog:
    """Reads `lines` to their end, and shows them on standard error from when `shown` is set."""

    def __init__(self, lines: Iterable[str], shown: bool) -> None:
        self.shown = shown
        self._kept: deque[str] = deque(maxlen=2000)
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def text(self, wait: float = 0) -> str:
        """The newest lines; of a Triton that has ended all of them, for which it waits so many seconds at most."""
        self._reader.join(timeout=wait)
        return "".join(self._kept.copy())

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._kept.append(line)
            if self.shown:
                show(line)


def show(line: str) -> None:
    """Write `line` to standard error when its reader is ready for it."""
    with contextlib.suppress(queue.Full):
        _waiting.put_nowait(line)


def finish_showing(seconds: float = 2) -> None:
    """Wait until all lines are shown, so many seconds at most."""
    ended = threading.Event()
    with contextlib.suppress(queue.Full):
        _waiting.put(ended, timeout=seconds)
        ended.wait(seconds)


def _write() -> None:
    while True:
        line = _waiting.get()
        if isinstance(line, threading.Event):
            line.set()
            continue
        with contextlib.suppress(OSError):  # a full disk
            sys.stderr.write(line)
            sys.stderr.flush()


_waiting: "queue.Queue[str | threading.Event]" = queue.Queue(MOST_WAITING)
threading.Thread(target=_write, daemon=True).start()


def exit_reason(code: int, log: str) -> str:
    """One line. `code` is negative where a signal ended it, as Popen has it."""
    if code < 0:
        thrown = thrown_error(log)
        return f"Triton was ended by {_signal_name(-code)}" + (f" ({thrown})" if thrown else "")
    return f"Triton ended with code {code}: {last_error(log) or 'see --verbose'}"


def load_failure(log: str) -> str | None:
    """One line: the model that did not load and why; None if there is none. Triton then ends, or crashes on its way."""
    failed = re.search(r"failed to load '(\w+)' version \d+: (.+)", log) or re.search(
        r"Poll failed for model directory '(\w+)': (.+)", log
    )
    if not failed:
        return None
    model, reason = failed[1], failed[2].split(TRACEBACK)[0].strip(' "')
    own = stub_reason(log) if "not healthy" in reason else None
    return f"model {model} does not load ({own or reason}): {WRITE_AGAIN}"


def stub_reason(log: str) -> str | None:
    """What the process of a Python model said before it ended: what nothing caught, or Python's own last words."""
    said = re.findall(r"^(?:Fatal Python error: .+|.*error while loading shared libraries: .+)$", log, re.MULTILINE)
    return thrown_error(log) or (said[-1] if said else None)


def thrown_error(log: str) -> str | None:
    """The last C++ exception that nothing caught: its type and what it says."""
    found = re.findall(r"terminate called after throwing an instance of '([\w:]+)'\s*(?:what\(\):\s*(.+))?", log)
    return ": ".join(part for part in found[-1] if part) if found else None


def last_error(log: str) -> str | None:
    errors = re.findall(r"^(?:E\d{4}.*?\] |error: |(?=Bad option))(.+)$", log, re.MULTILINE)
    return next((error for error in reversed(errors) if not NOISE.search(error)), None)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
