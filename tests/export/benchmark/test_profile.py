"""The profiler's trace and tables."""

import json
from pathlib import Path

from rich.console import Console

from export.benchmark.profile import profile
from export.benchmark.torch_engine import TorchEngine
from export.benchmark.workplace import Workplace


def test_a_profile_names_the_operators_and_leaves_a_trace(workplace: Workplace, tmp_path: Path):
    trace = tmp_path / "traces/trace.json"
    console = Console(width=150)
    with console.capture() as captured:
        console.print(*profile(TorchEngine(), workplace, trace))
    assert "operators by time" in captured.get()
    assert "operators by memory" in captured.get()
    assert "aten::" in captured.get()
    assert any("convolution" in event.get("name", "") for event in json.loads(trace.read_text())["traceEvents"])
