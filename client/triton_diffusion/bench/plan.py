"""The plan of a load test: its runs and their order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .._client import Client
from .._metrics import server_metrics
from .concurrency import concurrently
from .machine import about
from .perf_analyzer import PerfAnalyzer
from .results import InProcess, Results, Streamed
from .streaming import measure_streams
from .sweep import Target, measure
from .workload import PROMPTS, Fields, Workload, mixed, uniform

COMPARED = (1, 8)
"""Requests at once: one user, and several."""

RATES = (0.4, 0.6, 0.8)
"""Requests a second, as shares of the most images a second that the sweep of concurrencies got."""

STREAMS = 24
"""Requests of a run of streams: each brings a sample of the time between steps with every step."""

InProcessRun = Callable[[Workload, int], float]
"""A function that makes the images of a workload without a server, as many at once as the number says; images/s."""


@dataclass(frozen=True)
class Plan:
    """The servers and the requests of a load test."""

    target: Target
    baseline: Target | None = None  # the same server with batching off, for the mixed workload
    in_process: InProcessRun | None = None
    requests: int = 64  # of each run
    concurrencies: Sequence[int] = (1, 2, 4, 8, 16)
    prompts: Sequence[str] = PROMPTS
    settings: Fields = field(default_factory=dict)  # of the uniform requests

    @property
    def targets(self) -> list[Target]:
        return [self.target] if self.baseline is None else [self.target, self.baseline]


def carry_out(plan: Plan, analyzer: PerfAnalyzer, report: Callable[[str], None]) -> Results:
    """Measure everything. report: called with a few words before each run.

    Raises BenchError, or one of the client's errors.
    """
    alike = uniform(plan.requests, plan.prompts, plan.settings)
    varied = mixed(plan.requests, plan.prompts)
    for target in plan.targets:
        report(f"{target.name}: warming up")
        _warm_up(plan, target)

    results = Results(about(analyzer, plan.target.grpc_url))
    for concurrency in plan.concurrencies:
        report(f"{alike.name} requests, {concurrency} at once")
        results.levels.append(measure(analyzer, plan.target, alike, "concurrency", concurrency))
    most = max(level.images_per_second for level in results.levels)
    for rate in (float(f"{share * most:.2g}") for share in RATES):
        report(f"{alike.name} requests, {rate:g} a second")
        results.levels.append(measure(analyzer, plan.target, alike, "request rate", rate))

    for concurrency in COMPARED:
        for target in plan.targets:
            report(f"{varied.name} requests, {concurrency} at once, {target.name}")
            results.levels.append(measure(analyzer, target, varied, "concurrency", concurrency))

    if plan.in_process:
        for workload in (alike, varied):
            for concurrency in COMPARED:
                report(f"{workload.name} requests, {concurrency} at once, in process")
                rate = plan.in_process(workload, concurrency)
                results.in_process.append(InProcess(workload.name, concurrency, rate))

    for concurrency in COMPARED:
        report(f"streams, {concurrency} at once")
        results.streamed.append(_streams(plan, concurrency))
    return results


def _warm_up(plan: Plan, target: Target) -> None:
    """Send the most requests at once, of different lengths, so that batches of every size occur as they end."""
    server_metrics(target.metrics_url)  # a wrong address shows now, and not after minutes
    most = max(*plan.concurrencies, *COMPARED)
    with Client(target.grpc_url) as client:
        concurrently(lambda request: client.text_to_image(**request), mixed(most, plan.prompts).requests, most)


def _streams(plan: Plan, concurrency: int) -> Streamed:
    with Client(plan.target.grpc_url) as client:
        return measure_streams(client, uniform(STREAMS, plan.prompts, plan.settings), concurrency)
