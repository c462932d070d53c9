"""The bound on the memory of Triton's own process.

Triton 2.51 allocates what the shape in a request says before it looks at the data: 150 bytes make it take 17 GB. With
a bound such a request is an error, or ends Triton, which is then started again.

RLIMIT_DATA counts private writable memory. What is shared with the models' processes, mapped files, and the address
space that CUDA reserves do not count, so it may be narrow where RLIMIT_AS may not. It is set when the models are
loaded, relative to what they have taken by then: the processes of Python models have been started and keep no limit.
"""

import contextlib
import re
import resource
from pathlib import Path


def bound_memory(process: int, gibibytes: float) -> None:
    """Let `process` allocate so much more than it has now."""
    with contextlib.suppress(OSError):  # it has just ended, which is told elsewhere
        status = Path(f"/proc/{process}/status").read_text()
        found = re.search(r"^VmData:\s+(\d+) kB$", status, re.MULTILINE)
        if found:
            limit = int(found[1]) * 1024 + int(gibibytes * 2**30)
            resource.prlimit(process, resource.RLIMIT_DATA, (limit, limit))
