"""The real Triton server around the torch runtime's engines, loaded by perf_analyzer, and the same loop without Triton.

The first server has the engines in its loop's process, and compiles; what follows reads what it left: the loop in a
process of its own, and a server with the engines as Triton models.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from triton_diffusion import Client, Progress
from triton_diffusion.bench.concurrency import concurrently
from triton_diffusion.bench.perf_analyzer import PerfAnalyzer, find_perf_analyzer
from triton_diffusion.bench.streaming import measure_streams
from triton_diffusion.bench.sweep import Target, measure
from triton_diffusion.bench.workload import PROMPTS, Workload, mixed, uniform

from benchmarks.gpu.ladder import decibels
from benchmarks.gpu.record import Record
from benchmarks.ladder.engines.loop import PROMPT
from benchmarks.ladder.workspace import Workspace
from benchmarks.load import CACHE
from export.errors import quote
from export.in_process import InProcess
from export.repository import Export, write_repository
from export.runtime import Precision, Runtime
from export.sizes import choose_sizes
from tests.support.launching import ADMIN_KEY, ALL_CORES, Server
from tests.support.replicas import replicas

DENOISER_BATCHES = (2, 16)
"""Rows that the denoiser is compiled for: one guided image, and eight."""
AT_ONCE = (1, 2, 4, 8, 16)
COMPARED = (1, 8)
"""Requests at once of the runs that others are compared with."""
SEED = 7
STREAMS = 6
CANCELLED = 5  # streams that are closed amid their steps
CANCELLED_AFTER = 5  # steps
READY_TIMEOUT = 400  # seconds


def measure_served(workspace: Workspace, record: Record, requests: int, report: Callable[[str], None]) -> None:
    """Measure the servers with so many requests a run, into `record`. Raises ExportError, BenchError."""
    report("exporting for the torch runtime")
    repository = export_torch(workspace, DENOISER_BATCHES)
    workloads = [uniform(requests, PROMPTS, {}), mixed(requests, PROMPTS)]
    analyzer = find_perf_analyzer(perf_analyzer_folder())
    image = measure_server("in-process", AT_ONCE, repository, analyzer, workloads, record, report)
    report("the loop in one process")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        record.put("loop", pool.submit(loop, repository, workloads, image).result())
    measure_server("models", COMPARED, repository, analyzer, workloads, record, report)


def loop(repository: Path, workloads: list[Workload], served: np.ndarray | None) -> dict[str, Any]:
    """Figures of the loop without Triton, whose image of SEED is compared with the `served` one, uint8 (H, W, 3)."""
    start = time.perf_counter()
    with InProcess(repository) as generator:

        def make(request: dict[str, Any]) -> np.ndarray:
            return generator.generate(**request).result()

        figures: dict[str, Any] = {"opening_seconds": round(time.perf_counter() - start, 1)}
        image = make({"prompt": PROMPT, "seed": SEED})[0]
        if served is not None:
            figures["psnr_to_served"] = decibels(served, image)
        for workload in workloads:
            for at_once in COMPARED:
                concurrently(make, workload.requests[:at_once], at_once)
                start = time.perf_counter()
                concurrently(make, workload.requests, at_once)
                rate = len(workload.requests) / (time.perf_counter() - start)
                figures.setdefault("images_a_second", {}).setdefault(workload.name, {})[at_once] = round(rate, 2)
    figures["peak_mib"] = round(torch.cuda.max_memory_reserved() / 2**20) if torch.cuda.is_available() else None
    return figures


def export_torch(workspace: Workspace, denoiser_batches: tuple[int, ...]) -> Path:
    """The checkpoint's repository for the torch runtime, in FP16 on a GPU. Processes that compile it share the work."""
    checkpoint, repository = workspace.checkpoint, workspace.folder / "torch"
    if repository.exists():
        shutil.rmtree(repository)
    sizes = choose_sizes(checkpoint, None, None)
    networks = checkpoint.networks(sizes)
    batches = {name: network.compile_batches for name, network in networks.items()} | {"denoiser": denoiser_batches}
    precision = Precision.FP16 if torch.cuda.is_available() else Precision.FP32
    repository.parent.mkdir(parents=True, exist_ok=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(repository.parent / "compiled")
    write_repository(
        Export(checkpoint, sizes, networks, Runtime.TORCH, precision, batches), repository, lambda text: None
    )
    return repository


def perf_analyzer_folder() -> Path:
    """Where `install.py` puts it; elsewhere the folder that the load test keeps it in."""
    carried = Path(sys.prefix, "perf_analyzer")
    return carried if carried.is_dir() else CACHE


def measure_server(
    networks: str,
    at_once: Sequence[int],
    repository: Path,
    analyzer: PerfAnalyzer,
    workloads: list[Workload],
    record: Record,
    report: Callable[[str], None],
) -> np.ndarray | None:
    """Measure a server with so many requests at once; its image of SEED, uint8 (H, W, 3), None if it does not start."""
    report(f"starting the server, networks {networks}")
    figures: dict[str, Any] = {}

    def put(name: str, figure: Any) -> None:
        figures[name] = figure
        record.put(f"networks_{networks.replace('-', '_')}", figures)

    free = free_mib()
    start = time.perf_counter()
    log = (repository.parent / f"{networks}.log").open("w", encoding="utf-8")
    options = (f"--networks={networks}", f"--ready-timeout={READY_TIMEOUT}", ALL_CORES)
    try:
        with log, replicas(repository, 1, *options, log=log) as (replica,):
            put("ready_seconds", round(time.perf_counter() - start, 1))
            target = Target("server", replica.server.grpc_url, replica.server.metrics_url, ADMIN_KEY)
            with Client(target.grpc_url) as client:
                concurrently(lambda request: client.text_to_image(**request), workloads[1].requests[:16], 16)
                report("comparing images")
                image, compared = _compare(client)
                put("among_others", compared)
                report("perf_analyzer")
                runs: list[dict[str, Any]] = []
                for workload in workloads:
                    for count in at_once:
                        runs.append(_run(analyzer, target, workload, count))
                        put("runs", runs)
                report("previews and cancelled streams")
                put("previews", asdict(measure_streams(client, uniform(STREAMS, PROMPTS, {}), 1)))
                put("seconds_from_cancel_to_idle", [_cancel(client, replica.server) for _ in range(CANCELLED)])
            if free is not None:
                put("device_mib", free - (free_mib() or 0))
            return image
    except ChildProcessError as reason:
        put("not_run", quote(reason))
        return None


def _run(analyzer: PerfAnalyzer, target: Target, workload: Workload, at_once: int) -> dict[str, Any]:
    level = measure(analyzer, target, workload, "concurrency", at_once)
    return {
        "workload": workload.name,
        "at_once": at_once,
        "requests": level.requests,
        "images_a_second": round(level.images_per_second, 2),
        "latency_ms": {name: round(value, 1) for name, value in asdict(level.latency).items()},
        "samples_a_step": round(level.samples_per_step, 2),
        "ms_a_call": {name: round(model.compute, 2) for name, model in level.models.items()},
    }


def _compare(client: Client) -> tuple[np.ndarray, dict[str, Any]]:
    """The image of SEED, and what it is among others."""

    def make(seed: int) -> np.ndarray:
        return np.asarray(client.text_to_image(PROMPT, seed=seed)[0])

    alone = make(SEED)
    with ThreadPoolExecutor(COMPARED[-1]) as pool:
        among = next(iter(pool.map(make, range(SEED, SEED + COMPARED[-1]))))
    return alone, {"psnr": decibels(alone, among), "bit_equal": bool((alone == among).all())}


def _cancel(client: Client, server: Server) -> float:
    """Seconds from closing a stream amid its steps to an idle server."""
    stream = client.stream(PROMPT, num_inference_steps=50)
    for event in stream:
        if isinstance(event, Progress) and event.step >= CANCELLED_AFTER:
            break
    start = time.perf_counter()
    stream.close()
    server.wait_until_idle()
    return round(time.perf_counter() - start, 3)


def free_mib() -> int | None:
    """Of the GPU's memory, for all processes together; None without a GPU."""
    return torch.cuda.mem_get_info()[0] // 2**20 if torch.cuda.is_available() else None
