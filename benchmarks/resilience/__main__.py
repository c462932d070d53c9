"""Nothing lost: python -m benchmarks.resilience [--output FILE]

Three replicas of this machine, behind nginx and behind the client's own failover, are killed and restarted under load;
a single one gets more than it can do, long jobs beside short ones, deadlines, and the death of Triton or a model.
"""

import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from triton_diffusion.cli import errors_in_one_line

from benchmarks.recording import machine, write_record
from benchmarks.resilience.crash import abort, kill_model, lose_triton
from benchmarks.resilience.failover import kill_one, restart_all
from benchmarks.resilience.fairness import deadlines, fairness, priorities
from benchmarks.resilience.figures import Figure
from benchmarks.resilience.floods import floods
from benchmarks.resilience.overload import MAX_QUEUE, overload
from tests.support.launching import ALL_CORES
from tests.support.proxy import running_nginx
from tests.support.replicas import Replica, replicas

REPLICAS = 3


class Report:
    """The figures of every part, shown as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.parts: dict[str, list[Figure]] = {}

    def add(self, title: str, measure: Callable[[], list[Figure]]) -> None:
        self._console.print(title, style="bold")
        figures = self.parts[title] = measure()
        table = Table("", "", "promised")
        for figure in figures:
            promised = "" if figure.at_most is None else f"at most {figure.at_most:.4g} {figure.unit}".rstrip()
            style = None if figure.kept else "red"
            table.add_row(figure.name, f"{figure.value:.4g} {figure.unit}".rstrip(), promised, style=style)
        self._console.print(table)

    @property
    def kept(self) -> bool:
        return all(figure.kept for figures in self.parts.values() for figure in figures)

    def as_record(self) -> dict[str, dict[str, object]]:
        """By part and figure."""
        return {title: {figure.name: figure.as_record() for figure in figures} for title, figures in self.parts.items()}


@errors_in_one_line()
def main(
    repository: Annotated[Path, typer.Option(help="An exported repository.")] = Path("model_repository"),
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure what becomes of requests when servers go away, or get too many. Exit code 1 where a promise is broken."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill ends the servers too, like Ctrl-C
    start = time.perf_counter()
    report = Report(Console())
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "servers.log")
        with log.open("a") as servers_log:
            with (
                replicas(repository, REPLICAS, ALL_CORES, log=servers_log) as group,
                running_nginx(Path(folder), [replica.server for replica in group], "--plain", quiet=True) as proxy,
            ):
                report.add("One of three replicas is killed", lambda: kill_one(group, proxy, log))
                report.add("All three are restarted, one by one", lambda: restart_all(group, proxy, log))
            with replicas(repository, 1, ALL_CORES, log=servers_log) as (replica,):
                report.add("Triton is killed", lambda: lose_triton(replica, Replica.kill_triton))
                report.add("Triton is ended by a request", lambda: lose_triton(replica, abort))
            with replicas(repository, 1, ALL_CORES, f"--max-queue={MAX_QUEUE}", log=servers_log) as (replica,):
                report.add("Four times as many requests as one server can make", lambda: overload(replica.server))
                report.add("Deadlines that pass", lambda: deadlines(replica.server))
                report.add("Short requests beside long jobs that have all the room", lambda: fairness(replica.server))
                report.add("High priority beside low jobs that have all the room", lambda: priorities(replica.server))
                report.add("A request of 20 steps beside floods", lambda: floods(replica.server))
                for model, networks in (("text_to_image", ""), ("diffusion", ", and the networks in it,")):
                    title = f"The process of {model}{networks} dies with 32 requests in the server"
                    report.add(title, partial(kill_model, replica, model))
    seconds = round(time.perf_counter() - start)
    print(f"{seconds} s")
    if output is not None:
        write_record(output, {"machine": machine(), "seconds": seconds, "figures": report.as_record()})
    raise typer.Exit(0 if report.kept else 1)


if __name__ == "__main__":
    typer.run(main)
