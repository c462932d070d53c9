"""Profile of a rung: the operators that take its time and memory, by PyTorch's profiler."""

from pathlib import Path

import torch
from rich.table import Table
from torch.profiler import ProfilerActivity

from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.samplers import Sampler
from benchmarks.ladder.workspace import Workspace

STEPS = 5
TOP = 12


def profile(engine: Engine, workspace: Workspace, trace: Path) -> list[Table]:
    """Profile one image of a few steps; write Chrome's trace to `trace`, return the top operators by both."""
    loop = engine.open(workspace)
    sampler = Sampler("dpmpp_2m", STEPS)
    loop.image(sampler)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device() == "cuda")
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        loop.image(sampler)
    trace.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(trace))
    where = "device" if device() == "cuda" else "cpu"
    operators = profiler.key_averages()
    return [
        _top(f"{engine.name}: operators by time", "ms", operators, f"self_{where}_time_total", 1e-3),
        _top(f"{engine.name}: operators by memory allocated", "MB", operators, f"self_{where}_memory_usage", 1e-6),
    ]


def _top(title: str, unit: str, operators: list, figure: str, scale: float) -> Table:
    """The operators with the largest `figure`; their own, without what they call."""
    amounts = {operator.key: (getattr(operator, figure) * scale, operator.count) for operator in operators}
    total = sum(amount for amount, _ in amounts.values() if amount > 0)
    table = Table("operator", unit, "share", "calls", title=title)
    for name, (amount, count) in sorted(amounts.items(), key=lambda entry: -entry[1][0])[:TOP]:
        table.add_row(name, f"{amount:.1f}", f"{amount / total:.0%}", str(count))
    return table
