"""The dashboard's panels, drawn from its JSON and a Prometheus as Grafana would, as far as the dashboard needs it."""

import itertools
import math
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tests.support.prometheus import Prometheus, filled_in, panels

STEP = 2  # seconds between two points
RATE_INTERVAL = "15s"
COLUMN, LINE = 0.82, 0.42  # inches of one place of Grafana's grid
GAP = 0.06  # inches around a panel
LABELS, LEGEND = 0.75, 0.72  # inches left of and below a graph
BACKGROUND, PANEL, TEXT, FAINT, GRID = "#111217", "#181b1f", "#ccccdc", "#8e8e99", "#2c3235"
NAMED = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "blue": "#5794f2",
    "orange": "#ff9830",
    "red": "#f2495c",
    "text": TEXT,
}
PALETTE = [NAMED["green"], "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9"]


class Series(NamedTuple):
    legend: str
    values: np.ndarray  # every STEP seconds; NaN where there is none


class Canvas:
    """A figure in inches, from its lower left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.size = np.array([width, height])
        self.figure: Figure = plt.figure(figsize=(width, height), facecolor=BACKGROUND)

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        corner, extent = np.array([left, bottom]) / self.size, np.array([width, height]) / self.size
        return self.figure.add_axes((*corner, *extent), facecolor=PANEL)

    def text(self, left: float, bottom: float, text: str, **style: Any) -> None:
        self.figure.text(left / self.size[0], bottom / self.size[1], text, **{"color": TEXT, "va": "center", **style})


def draw(source: Prometheus, start: float, end: float, image: Path) -> None:
    """All panels between two times, seconds since 1970."""
    matplotlib.use("agg")
    every = panels()
    height = LINE * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in every)
    canvas = Canvas(24 * COLUMN, height)
    for panel in every:
        place = panel["gridPos"]
        left, bottom = place["x"] * COLUMN + GAP, height - (place["y"] + place["h"]) * LINE + GAP
        if panel["type"] == "row":
            canvas.text(left + GAP, bottom + LINE / 2 - GAP, panel["title"], size=14, weight="bold")
        else:
            box = left, bottom, place["w"] * COLUMN - 2 * GAP, place["h"] * LINE - 2 * GAP
            _panel(canvas, box, panel, _asked(source, panel, start, end))
    canvas.figure.savefig(image, dpi=80, facecolor=BACKGROUND)
    plt.close(canvas.figure)


def _asked(source: Prometheus, panel: dict[str, Any], start: float, end: float) -> list[Series]:
    """The series of all queries of a panel."""
    count = int((end - start) / STEP) + 1
    found = []
    for target in panel["targets"]:
        for series in source.query_range(filled_in(target["expr"], RATE_INTERVAL), start, end, STEP):
            legend = target["legendFormat"]
            for name, value in series["metric"].items():
                legend = legend.replace(f"{{{{{name}}}}}", value)
            values = np.full(count, np.nan)
            for time, value in series["values"]:
                values[round((time - start) / STEP)] = float(value)
            found.append(Series(legend, values))
    return found


def _panel(canvas: Canvas, box: tuple[float, float, float, float], panel: dict[str, Any], found: list[Series]) -> None:
    left, bottom, width, height = box
    frame = canvas.axes(*box)
    frame.set(xticks=[], yticks=[])
    frame.spines[:].set_color(GRID)
    canvas.text(left + 0.1, bottom + height - 0.2, panel["title"], size=11)
    middle: dict[str, Any] = {"left": left + width / 2, "bottom": bottom + height / 2, "ha": "center"}
    if not found:
        canvas.text(text="No data", color=FAINT, size=13, **middle)
    elif panel["type"] == "stat":
        text, colour = _stat(canvas.axes(left, bottom, width, height * 0.4), panel, found)
        canvas.text(text=text, color=colour, size=24, **middle)
    else:
        axes = canvas.axes(left + LABELS, bottom + LEGEND, width - LABELS - 0.15, height - LEGEND - 0.45)
        _lines(axes, panel, found) if panel["type"] == "timeseries" else _heatmap(axes, panel, found)
        _scale(axes)


def _stat(axes: Axes, panel: dict[str, Any], found: list[Series]) -> tuple[str, str]:
    """The last value as text, and the colour that its thresholds give it; before it, how it came about."""
    ((_, values),) = found
    defaults = panel["fieldConfig"]["defaults"]
    last = values[np.isfinite(values)][-1]
    reached = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or last >= step["value"]]
    colour = NAMED[reached[-1]["color"]]
    axes.axis("off")
    axes.fill_between(_times(values), values, color=colour, alpha=0.25, linewidth=0)
    axes.plot(_times(values), values, color=colour, linewidth=1)
    axes.set(xlim=(0, _times(values)[-1]), ylim=(0, max(np.nanmax(values), 1e-9) * 1.1))
    return _with_unit(last, defaults["unit"]), colour


def _lines(axes: Axes, panel: dict[str, Any], found: list[Series]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    overrides = {
        override["matcher"]["options"]: {entry["id"]: entry["value"] for entry in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    below = np.zeros(len(found[0].values))
    unit, divisor = ("GiB", 2**30) if defaults["unit"] == "bytes" else (defaults["unit"], 1)
    for (legend, values), colour in zip(found, itertools.cycle(PALETTE)):
        values = values / divisor
        special = overrides.get(legend, {})
        colour = NAMED[special["color"]["fixedColor"]] if "color" in special else colour
        opacity = special.get("custom.fillOpacity", defaults["custom"]["fillOpacity"]) / 100
        if "stacking" in defaults["custom"]:
            top = below + np.nan_to_num(values)
            axes.fill_between(_times(values), below, top, color=colour, alpha=opacity, linewidth=0, label=legend)
            below = top
        else:
            style = "--" if "custom.lineStyle" in special else "-"
            axes.plot(_times(values), values, style, color=colour, linewidth=1.2, label=legend)
            axes.fill_between(_times(values), values, color=colour, alpha=opacity, linewidth=0)
    axes.set_ylim(0, defaults.get("max") or axes.get_ylim()[1] or 1)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: _with_unit(value, unit))
    legend_style = {"frameon": False, "fontsize": 9, "labelcolor": TEXT, "handlelength": 1.2, "columnspacing": 1.2}
    width, height = axes.bbox.width / axes.figure.dpi, axes.bbox.height / axes.figure.dpi  # inches
    corner = -LABELS / width, -0.2 / height
    axes.legend(loc="upper left", bbox_to_anchor=corner, ncols=4 if width < 5 else 6, **legend_style)


def _heatmap(axes: Axes, panel: dict[str, Any], found: list[Series]) -> None:
    """The buckets are cumulative: a cell is what its bucket has more than the one below."""
    buckets = sorted((math.inf if legend == "+Inf" else float(legend), values) for legend, values in found)
    counts = np.diff(np.nan_to_num([values for _, values in buckets]), axis=0, prepend=0)
    used = np.flatnonzero(counts.sum(axis=1) > 0)
    shown = slice(used[0], used[-1] + 1)
    unit = panel["options"]["yAxis"]["unit"]
    labels = ["more" if math.isinf(bound) else _with_unit(bound, unit) for bound, _ in buckets[shown]]
    cells, rows = np.ma.masked_less_equal(counts[shown], 0), np.arange(len(labels))
    axes.pcolormesh(_times(counts[0]), rows + 0.5, cells, cmap="Oranges_r", shading="nearest")
    axes.set_yticks(rows + 1, labels)  # a bucket's bound is its upper edge


def _scale(axes: Axes) -> None:
    """Faint lines, and minutes and seconds below."""
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[3, 6, 10]))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{int(seconds) // 60}:{int(seconds) % 60:02d}")
    axes.margins(x=0)


def _times(values: np.ndarray) -> np.ndarray:
    """Seconds from the start."""
    return np.arange(len(values)) * float(STEP)


def _with_unit(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{100 * value:.3g} %"
        case "GiB":
            return f"{value:.3g} GiB"
        case "reqps":
            return f"{value:.3g} req/s"
        case "µs":
            return _with_unit(value / 1e6, "s")
        case "s" if 0 < value < 1:
            return f"{value * 1000:.3g} ms"
        case "s":
            return f"{value:.3g} s"
    return f"{value:.3g}"
