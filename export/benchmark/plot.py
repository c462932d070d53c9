"""The ladder as a picture: seconds an image against quality, a labelled point a rung."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.benchmark.record import Record


def plot(record: Record, path: Path) -> None:
    """Write the picture of all rungs that were timed and judged to `path`.

    Quality is the share of prompts followed, or, where the checkpoint does not know them, the ODE distance.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_xlabel("seconds an image, one at a time")
    machine = record.machine
    followed = [
        (result.timing.seconds_per_image, result.quality.adherence, result.rung.name)
        for result in record.results
        if result.timing and result.quality and result.quality.adherence is not None
    ]
    distances = [
        (result.timing.seconds_per_image, result.quality.rms, result.rung.name)
        for result in record.results
        if result.timing and result.quality and result.quality.rms is not None
    ]
    axes.set_ylabel("share of prompts followed" if followed else "distance from the fine ODE solution")
    _draw(axes, followed or distances)
    where = machine["gpu"] or f"{machine['cores']} cores of {machine['processor']}"
    figure.suptitle(f"{record.checkpoint['name']} on {where}, {machine['date']}", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _draw(axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """Points (x, y, label); the labels stand in a row above, in the points' order, so that none covers another."""
    axes.scatter([x for x, _, _ in points], [y for _, y, _ in points], zorder=3)
    axes.grid(alpha=0.3)
    axes.margins(0.08, 0.3)
    for k, (x, y, label) in enumerate(sorted(points)):
        axes.annotate(
            label,
            (x, y),
            xytext=((k + 0.5) / len(points), 1.02),
            textcoords="axes fraction",
            rotation=35,
            fontsize=8,
            arrowprops={"arrowstyle": "-", "alpha": 0.4, "linewidth": 0.8},
        )
