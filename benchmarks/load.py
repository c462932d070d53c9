"""The load test of this machine: python -m benchmarks.load [--output FOLDER] [--record docs/records]

What `triton-diffusion bench` does, on servers of its own: the repository as it is, the same with one active sample,
which is step-level batching switched off, and, without a server, the same loop and graphs in this process. Both servers
run all the time, so that they meet the same minutes of the machine; one that has nothing to do takes no processor time.
"""

import re
import shutil
import signal
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console
from triton_diffusion.bench.concurrency import concurrently
from triton_diffusion.bench.perf_analyzer import find_perf_analyzer
from triton_diffusion.bench.plan import Plan, carry_out
from triton_diffusion.bench.report import show, write
from triton_diffusion.bench.results import BASELINE, BATCHING
from triton_diffusion.bench.sweep import Target
from triton_diffusion.bench.workload import Workload
from triton_diffusion.cli import errors_in_one_line

from export.in_process import InProcess
from tests.support.launching import ADMIN_KEY, ALL_CORES
from tests.support.replicas import Replica, replicas

CACHE = Path("build/perf_analyzer")


def one_active_sample(repository: Path, folder: Path) -> Path:
    """`repository` with max_active_samples 1, written to `folder`; what is the same is linked."""
    for model in repository.iterdir():
        if model.name != "diffusion":
            (folder / model.name).symlink_to(model.resolve())
    shutil.copytree(repository / "diffusion", folder / "diffusion")
    config = folder / "diffusion/config.pbtxt"
    pattern = r'(key: "max_active_samples" value { string_value: )"\d+"'
    text, replaced = re.subn(pattern, r'\1"1"', config.read_text())
    assert replaced == 1, f"{config} names max_active_samples {replaced} times"
    config.write_text(text)
    return folder


def log_in(folder: Path, name: str) -> IO[str]:
    """A new file for the log of the server `name`, beside the report: what ended a run is read there."""
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"{name.replace(' ', '-')}.log").open("w", encoding="utf-8")


def target(name: str, replica: Replica) -> Target:
    return Target(name, replica.server.grpc_url, replica.server.metrics_url, ADMIN_KEY)


def in_process(repository: Path, workload: Workload, concurrency: int) -> float:
    """Images a second of the loop and the graphs without Triton, warm."""
    with InProcess(repository) as generator:
        concurrently(
            lambda request: generator.generate(**request).result(), workload.requests[:concurrency], concurrency
        )
        start = time.perf_counter()
        concurrently(lambda request: generator.generate(**request).result(), workload.requests, concurrency)
        return len(workload.requests) / (time.perf_counter() - start)


@errors_in_one_line()
def main(
    repository: Path = Path("model_repository"),
    requests: Annotated[int, typer.Option(help="Requests a run.")] = 64,
    output: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("build/bench"),
    record: Annotated[
        Path | None, typer.Option(help="Folder for bench.json and bench.png too, as docs/records.")
    ] = None,
) -> None:
    """Load-test servers of this machine with perf_analyzer and write a report."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill ends the servers too, like Ctrl-C
    start = time.perf_counter()
    analyzer = find_perf_analyzer(CACHE)
    console = Console()
    with (
        tempfile.TemporaryDirectory() as scratch,
        log_in(output, BATCHING) as batching_log,
        log_in(output, BASELINE) as baseline_log,
        replicas(repository, 1, ALL_CORES, log=batching_log) as (batching,),
        replicas(one_active_sample(repository, Path(scratch)), 1, ALL_CORES, log=baseline_log) as (baseline,),
    ):
        plan = Plan(
            target(BATCHING, batching),
            target(BASELINE, baseline),
            in_process=lambda workload, concurrency: in_process(repository, workload, concurrency),
            requests=requests,
        )
        results = carry_out(plan, analyzer, lambda text: console.print(text, style="dim"))
    results.about |= {"onnxruntime": version("onnxruntime"), "seconds": round(time.perf_counter() - start)}
    write(results, output)
    if record is not None:
        for suffix in ("json", "png"):
            shutil.copy(output / f"report.{suffix}", record / f"bench.{suffix}")
    show(results, console)
    console.print(f"{output / 'report.html'}, {results.about['seconds']} s")


if __name__ == "__main__":
    typer.run(main)
