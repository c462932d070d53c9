"""The real perf_analyzer, and results with figures that are easy to check."""

from pathlib import Path

import pytest
from triton_diffusion.bench.parse import ModelTime
from triton_diffusion.bench.perf_analyzer import PerfAnalyzer, find_perf_analyzer
from triton_diffusion.bench.results import BASELINE, BATCHING, InProcess, Level, Load, Percentiles, Results, Streamed

KEPT = Path(__file__).parents[3] / "build/perf_analyzer"
DENOISER_FIXED, DENOISER_SAMPLE = 4.0, 8.0  # ms, of the made-up results


@pytest.fixture(scope="session")
def analyzer() -> PerfAnalyzer:
    """The perf_analyzer that `make bench` finds."""
    return find_perf_analyzer(KEPT)


def level(workload: str, load: Load, value: float, images_per_second: float, p50: float, server: str = BATCHING):
    samples = value if server == BATCHING and load == "concurrency" else 1.0
    denoiser = ModelTime(queue=0.5, compute=DENOISER_FIXED + DENOISER_SAMPLE * samples - 0.5)
    return Level(
        server=server,
        workload=workload,
        load=load,
        value=value,
        requests=64,
        images_per_second=images_per_second,
        sent_per_second=value,
        latency=Percentiles(p50, 1.5 * p50, 2 * p50),
        samples_per_step=samples,
        room=0.0,
        models={"text_to_image": ModelTime(0.1, p50), "denoiser": denoiser},
    )


@pytest.fixture
def results() -> Results:
    """The results of a whole load test, made up."""
    return Results(
        about={"date": "2026-11-23", "processor": "a <fast> one", "cores": 2},
        levels=[
            level("uniform", "concurrency", 8, 6.0, 1300),
            level("uniform", "concurrency", 1, 4.0, 250),
            level("uniform", "request rate", 2.5, 2.4, 300),
            level("mixed", "concurrency", 1, 3.0, 330),
            level("mixed", "concurrency", 8, 4.5, 1500),
            level("mixed", "concurrency", 1, 3.0, 330, BASELINE),
            level("mixed", "concurrency", 8, 3.0, 3000, BASELINE),
        ],
        in_process=[InProcess("uniform", 1, 5.0), InProcess("uniform", 8, 6.0)],
        streamed=[Streamed(1, 24, Percentiles(20, 25, 30), Percentiles(12, 13, 14), Percentiles(260, 270, 280))],
    )
