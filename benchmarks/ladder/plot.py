"""The ladder as a plot: seconds an image against quality, a labelled point a rung."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, PercentFormatter

from benchmarks.ladder.record import Record, Result
from benchmarks.recording import where

Point = tuple[float, float, tuple[float, float], str]
"""Seconds an image, a figure of quality, its 95 % interval, and the rung."""


def plot(record: Record, path: Path) -> None:
    """Write the plot of all rungs that were timed and judged to `path`.

    Quality is the share of prompts followed, or, where the checkpoint does not know them, the ODE distance.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="seconds an image, one at a time")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    followed = [point for result in record.results for point in _adherence(result)]
    if followed:
        axes.set_ylabel("share of prompts followed, with 95 % intervals")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.set_ylabel("distance from the fine ODE solution, with 95 % intervals")
    _draw(axes, followed or [point for result in record.results for point in _distance(result)])
    figure.suptitle(f"{record.checkpoint['name']} on {where(record.machine)}", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _adherence(result: Result) -> list[Point]:
    timing, quality = result.timing, result.quality
    if not (timing and quality) or quality.adherence is None or quality.adherence_interval is None:
        return []
    return [(timing.seconds_per_image, quality.adherence, quality.adherence_interval, result.rung.name)]


def _distance(result: Result) -> list[Point]:
    timing, quality = result.timing, result.quality
    if not (timing and quality) or quality.rms is None or quality.rms_interval is None:
        return []
    return [(timing.seconds_per_image, quality.rms, quality.rms_interval, result.rung.name)]


def _draw(axes: Axes, points: list[Point]) -> None:
    """The labels stand in a row above, in the order of the points, so that none covers another."""
    axes.grid(alpha=0.3)
    axes.margins(0.08, 0.3)
    for k, (seconds, figure, (low, high), rung) in enumerate(sorted(points)):
        axes.plot([seconds, seconds], [low, high], color="tab:blue", alpha=0.3)
        axes.plot([seconds], [figure], "o", color="tab:blue")
        axes.annotate(
            rung,
            (seconds, figure),
            xytext=((k + 0.5) / len(points), 1.02),
            textcoords="axes fraction",
            rotation=35,
            fontsize=8,
            arrowprops={"arrowstyle": "-", "alpha": 0.4, "linewidth": 0.8},
        )
