"""The record of the GPU proof as a plot: python -m benchmarks.gpu.plot docs/records/gpu.json"""

import json
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

from benchmarks.recording import where


def main(record: Annotated[Path, typer.Argument(metavar="FILE.json")]) -> None:
    """Draw the seconds an image of every rung, beside FILE.json."""
    parts = json.loads(record.read_text())
    seconds = {
        row["rung"]: row["seconds_an_image"] for part in reversed(parts.values()) for row in part.get("rungs", [])
    }
    rungs = sorted(seconds, key=lambda rung: seconds[rung])
    figure = Figure(figsize=(9, 0.5 * len(rungs) + 1.2), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="seconds an image, one at a time")
    bars = axes.barh(rungs, [seconds[rung] for rung in rungs], color="tab:blue")
    axes.bar_label(bars, [f" {seconds[rung]:.3g} s" for rung in rungs])
    axes.margins(x=0.15)
    about = next(iter(parts.values()))
    figure.suptitle(f"{about['checkpoint']}, on {where(about['machine'])}", fontsize=10)
    figure.savefig(record.with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    typer.run(main)
