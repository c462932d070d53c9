"""The reason why a Triton has ended, from its exit code and its log."""

import re
import signal

NOISE = re.compile("CUDA|NVML|DCGM|GPU metrics", re.IGNORECASE)
"""In errors that every start on a machine without a GPU logs."""
TRACEBACK = r"\n\nAt:"
"""Where an error of a Python model goes on with its traceback, as Triton escapes it."""
WRITE_AGAIN = "write the repository again with `python -m export CHECKPOINT`, or see --verbose"


def exit_reason(code: int, log: str) -> str:
    """One line. `code` is negative where a signal ended it, as Popen has it."""
    failed = re.search(r"failed to load '(\w+)' version \d+: (.+)", log) or re.search(
        r"Poll failed for model directory '(\w+)': (.+)", log
    )
    if failed and code > 0:
        model, reason = failed[1], failed[2].split(TRACEBACK)[0].strip(' "')
        own = stub_reason(log) if "not healthy" in reason else None
        return f"model {model} does not load ({own or reason}): {WRITE_AGAIN}"
    if code < 0:
        thrown = thrown_error(log)
        return f"Triton was ended by {_signal_name(-code)}" + (f" ({thrown})" if thrown else "")
    return f"Triton ended with code {code}: {last_error(log) or 'see --verbose'}"


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
