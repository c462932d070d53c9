"""The results as one figure of four plots."""

import io
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from .results import BASELINE, BATCHING, Level, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "triton-diffusion",  # the same figures give the same file
}
BLUE, ORANGE, GREEN, GREY = "#2563a8", "#d9711c", "#3a8a4b", "#777777"


def draw(results: Results) -> Figure:
    """Throughput and latency against load, and the gain from batching."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 7.5), layout="constrained")
        (throughput, latency), (rates, batching) = figure.subplots(2, 2)
        _throughput(throughput, results)
        _latency(latency, "Latency, uniform requests", results.find("uniform", "concurrency"))
        latency.set_xlabel("requests at once")
        _latency(rates, "Latency, uniform requests (Poisson arrivals)", results.find("uniform", "request rate"))
        rates.set_xlabel("requests sent a second")
        _batching(batching, results)
    return figure


def svg(figure: Figure) -> str:
    """The figure as an SVG element."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _throughput(axes: "Axes", results: Results) -> None:
    lines = [
        ("uniform", results.find("uniform", "concurrency"), BLUE, "o-"),
        (f"mixed, {BATCHING}", results.find("mixed", "concurrency"), GREEN, "s-"),
        (f"mixed, {BASELINE}", results.find("mixed", "concurrency", BASELINE), ORANGE, "s-"),
    ]
    for label, levels, colour, style in lines:
        if levels:
            points = [level.value for level in levels], [level.images_per_second for level in levels]
            axes.plot(*points, style, color=colour, label=label)
    for workload, colour in (("uniform", BLUE), ("mixed", GREEN)):
        runs = [run for run in results.in_process if run.workload == workload]
        if runs:
            points = [run.concurrency for run in runs], [run.images_per_second for run in runs]
            axes.plot(*points, "x", color=colour, markersize=8, label=f"{workload}, in process")
    axes.set(title="Throughput", xlabel="requests at once", ylabel="images a second")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def _latency(axes: "Axes", title: str, levels: list[Level]) -> None:
    loads = [level.value if level.load == "concurrency" else level.sent_per_second for level in levels]
    if not levels:
        axes.set_visible(False)
        return
    for name, colour in (("p50", BLUE), ("p90", ORANGE), ("p99", GREY)):
        axes.plot(loads, [getattr(level.latency, name) / 1000 for level in levels], "o-", color=colour, label=name)
    axes.set(title=title, ylabel="seconds")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def _batching(axes: "Axes", results: Results) -> None:
    """Bars of p50, p90 and p99 at the highest concurrency of mixed requests, the servers side by side."""
    names = ("p50", "p90", "p99")
    if not results.find("mixed", "concurrency"):
        axes.set_visible(False)
        return
    for k, (server, colour) in enumerate(((BATCHING, GREEN), (BASELINE, ORANGE))):
        levels = results.find("mixed", "concurrency", server)
        if levels:
            seconds = [getattr(levels[-1].latency, name) / 1000 for name in names]
            places = [position + 0.4 * k - 0.2 for position in range(len(names))]
            bars = axes.bar(places, seconds, 0.38, color=colour, label=f"{server}, {levels[-1].value:g} at once")
            axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.set_xticks(range(len(names)), names)
    axes.grid(axis="x", visible=False)
    axes.set(title="Latency, mixed requests", ylabel="seconds")
    axes.legend(fontsize=8)
