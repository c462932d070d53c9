"""The profiler's trace and tables."""

import json
from pathlib import Path

from rich.console import Console

from benchmarks.ladder.engines.torch_engine import TorchEngine
from benchmarks.ladder.profile import profile
from benchmarks.ladder.workspace import Workspace


def test_a_profile_names_the_operators_and_leaves_a_trace(workspace: Workspace, tmp_path: Path):
    trace = tmp_path / "traces/trace.json"
    console = Console(width=150)
    with console.capture() as captured:
        console.print(*profile(TorchEngine(), workspace, trace))
    assert "operators by time" in captured.get()
    assert "operators by memory" in captured.get()
    assert "aten::" in captured.get()
    assert any("convolution" in event.get("name", "") for event in json.loads(trace.read_text())["traceEvents"])
