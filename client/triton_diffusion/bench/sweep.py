"""One run of perf_analyzer against `text_to_image`, with the server's own counts of it.

Every load is a run of its own: with `--request-count`, perf_analyzer takes one load at a time. The warm-up is the
caller's: perf_analyzer 2.51 hangs after its own at a request rate.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from .._metrics import ServerMetrics, server_metrics
from .parse import ModelTime, read_model_time, read_profile
from .perf_analyzer import PerfAnalyzer
from .results import Level, Load, Percentiles
from .workload import Workload, input_data

MODEL = "text_to_image"
ADMIN_HEADER = "triton-grpc-protocol-admin-key"  # as docker/triton_options.py calls it, behind Triton's own prefix
TIMEOUT = 3600.0  # seconds a run; on a slow machine an image can take a minute


@dataclass(frozen=True)
class Target:
    """A running server that has nothing else to do; both addresses as host:port."""

    name: str  # BATCHING or BASELINE
    grpc_url: str
    metrics_url: str
    admin_key: str | None = None  # opens Triton's statistics, if the server asks for one


def measure(analyzer: PerfAnalyzer, target: Target, workload: Workload, load: Load, value: float) -> Level:
    """Send every request of `workload` once, `value` at a time or `value` a second. Raises BenchError."""
    requests = len(workload.requests)
    before = server_metrics(target.metrics_url)
    with tempfile.TemporaryDirectory(prefix="triton-diffusion-") as scratch:
        folder = Path(scratch)
        (folder / "requests.json").write_text(input_data(workload), encoding="utf-8")
        analyzer.run(_arguments(target, requests, load, value), folder, TIMEOUT)
        profile = read_profile(folder / "profile.json")
        models = {MODEL: read_model_time(folder / "report.csv")}
    after = server_metrics(target.metrics_url)
    models |= _network_times(before, after)
    return Level(
        server=target.name,
        workload=workload.name,
        load=load,
        value=value,
        requests=profile.requests,
        images_per_second=profile.images_per_second,
        sent_per_second=profile.sent_per_second,
        latency=Percentiles.of(profile.latencies),
        samples_per_step=(after.denoiser_samples - before.denoiser_samples)
        / (after.denoiser_steps - before.denoiser_steps),
        room=1000 * (after.queue_wait_seconds - before.queue_wait_seconds) / profile.requests,
        models=models,
    )


def _network_times(before: ServerMetrics, after: ServerMetrics) -> dict[str, ModelTime]:
    """The mean call of each network that was called between two readings, as `diffusion` counts it."""
    spent = {
        name: (counted.seconds - before.networks[name].seconds, counted.calls - before.networks[name].calls)
        for name, counted in after.networks.items()
    }
    return {name: ModelTime(0.0, 1000 * seconds / calls) for name, (seconds, calls) in spent.items() if calls}


def _arguments(target: Target, requests: int, load: Load, value: float) -> list[str]:
    if load == "concurrency":
        how = [f"--concurrency-range={value:g}"]
    else:
        # The range's end is 1 unless given, so that a lower start alone asks for more than one load.
        how = [f"--request-rate-range={value:g}:{value:g}", "--request-distribution=poisson"]
    key = [] if target.admin_key is None else ["-H", f"{ADMIN_HEADER}:{target.admin_key}"]
    return [
        f"-m{MODEL}",
        f"-u{target.grpc_url}",
        "-igrpc",
        "--async",
        "--input-data=requests.json",
        f"--request-count={requests}",
        *how,
        *key,
        "-freport.csv",
        "--verbose-csv",
        "--profile-export-file=profile.json",
    ]
