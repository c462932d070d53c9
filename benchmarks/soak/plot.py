"""The plot of a soak: what each process uses over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.soak.judge import blocks, end_of_warm_up
from benchmarks.soak.usage import FILES, MEMORY, SHARED, THREADS

CONTROL = "control"
TITLES = {
    MEMORY: "Resident memory, % of what it is after the warm-up",
    FILES: "Open files",
    THREADS: "Threads",
    SHARED: "/dev/shm, MiB",
}


def draw(seconds: Sequence[float], series: Mapping[tuple[str, str], Sequence[float]], title: str, image: Path) -> None:
    """One panel a quantity, one line a process. `series`: by process and quantity."""
    matplotlib.use("agg")
    figure, panels = plt.subplots(2, 2, figsize=(12, 7), sharex=True, layout="constrained")
    for axes, (quantity, heading) in zip(panels.flat, TITLES.items()):
        for (process, measured), values in series.items():
            if measured == quantity:
                times, levels = blocks(seconds, values, warm_up=0)
                if quantity == MEMORY:
                    levels = 100 * levels / _after_warm_up(times, levels)
                style = {"linestyle": "--", "color": "red"} if process == CONTROL else {}
                axes.plot(times / 60, levels, label=process, linewidth=1.3, **style)
        axes.axvspan(seconds[0] / 60, end_of_warm_up(seconds) / 60, color="0.93")
        axes.set_title(heading, fontsize=10)
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[1]:
        axes.set_xlabel("minutes (grey: warm-up)")
    panels[0][0].legend(fontsize=8, frameon=False, ncols=2)
    figure.suptitle(title)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=90)
    plt.close(figure)


def _after_warm_up(times: np.ndarray, levels: np.ndarray) -> float:
    begin = int(np.searchsorted(times, end_of_warm_up(times)))
    return float(levels[min(begin, len(levels) - 1)])
