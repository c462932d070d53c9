"""Tables of the results, for the terminal and for the page."""

from collections.abc import Iterable
from dataclasses import dataclass

from .results import Level, Percentiles, Results


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(results: Results) -> list[Table]:
    """The tables that have rows."""
    uniform = [level for level in results.levels if level.workload == "uniform"]
    mixed = [level for level in results.levels if level.workload == "mixed"]
    found = [
        _levels("Uniform requests: prompts and seeds vary", uniform),
        _levels("Mixed requests: 4 to 50 steps, two samplers, guidance on and off", mixed),
        _models(uniform),
        _in_process(results),
        _streams(results),
    ]
    return [table for table in found if table.rows]


def load_text(level: Level) -> str:
    if level.load == "concurrency":
        return f"{level.value:g} at once"
    return f"{level.sent_per_second:.2f} a second"


def _levels(title: str, levels: Iterable[Level]) -> Table:
    columns = ["load", "server", "images/s", "p50 ms", "p90 ms", "p99 ms", "wait for room ms", "samples a step"]
    rows = []
    for level in levels:
        loop = f"{level.room:.0f}", f"{level.samples_per_step:.2f}"
        throughput = f"{level.images_per_second:.2f}"
        rows.append([load_text(level), level.server, throughput, *_percentiles(level.latency), *loop])
    return Table(title, columns, rows)


def _models(levels: list[Level]) -> Table:
    names = list(levels[0].models) if levels else []
    rows = [
        [load_text(level), *(f"{time.queue:.2f} + {time.compute:.2f}" for time in level.models.values())]
        for level in levels
    ]
    return Table("Inside the server, ms a call: queue + compute", ["load", *names], rows)


def _in_process(results: Results) -> Table:
    rows = []
    for run in results.in_process:
        served = [level for level in results.find(run.workload, "concurrency") if level.value == run.concurrency]
        for level in served:
            ratio = level.images_per_second / run.images_per_second
            figures = [f"{level.images_per_second:.2f}", f"{run.images_per_second:.2f}", f"{ratio:.2f}"]
            rows.append([run.workload, load_text(level), *figures])
    columns = ["requests", "load", "served images/s", "in process images/s", "served / in process"]
    return Table("The same requests without a server, in one process", columns, rows)


def _streams(results: Results) -> Table:
    rows = []
    for run in results.streamed:
        for name, times in (
            ("first preview", run.first_preview),
            ("between previews", run.between_previews),
            ("image", run.image),
        ):
            rows.append([f"{run.concurrency} at once", name, *_percentiles(times)])
    return Table("Streams with a preview every step", ["load", "time to", "p50 ms", "p90 ms", "p99 ms"], rows)


def _percentiles(times: Percentiles) -> list[str]:
    return [f"{times.p50:.0f}", f"{times.p90:.0f}", f"{times.p99:.0f}"]
