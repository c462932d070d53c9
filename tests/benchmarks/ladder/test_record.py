"""Gates, and numbers as they are written."""

import json

import pytest

from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.quality import Figures
from benchmarks.ladder.record import Record, Result, gates
from benchmarks.ladder.rungs import Rung
from benchmarks.ladder.samplers import DDIM, DPMPP_2M, Sampler
from benchmarks.ladder.timing import Timing


def judged(sampler: Sampler, rms: float | None = None, p: float | None = None, psnr: float | None = None) -> Result:
    interval = None if rms is None else (rms, rms)
    return Result(
        Rung(sampler.name, sampler, OnnxEngine()), quality=Figures("x", 256, rms, interval, None, None, p, psnr)
    )


@pytest.mark.parametrize(
    ("results", "holds"),
    [
        ([judged(DDIM, rms=0.02), judged(DPMPP_2M, rms=0.02)], [True]),
        ([judged(DDIM, rms=0.02), judged(DPMPP_2M, rms=0.021)], [False]),
        ([judged(DDIM, rms=0.02)], []),
        ([judged(DDIM, p=1.0), judged(DPMPP_2M, p=0.05)], [True]),
        ([judged(DDIM, p=1.0), judged(DPMPP_2M, p=0.04)], [False]),
        ([judged(DPMPP_2M, psnr=60.0), judged(DPMPP_2M, psnr=39.9)], [False]),
        ([Result(Rung("skipped", DPMPP_2M, OnnxEngine()), skipped="no GPU")], []),
    ],
)
def test_gates(results, holds):
    assert [gate.holds for gate in gates(results)] == holds


def test_rates_follow_from_the_median_call(tmp_path):
    timing = Timing(2, 12.0, 3.0, 10.0, 20.0, 200, 0.123456789, 30, 3600 / 0.123456789, 500.0)
    result = Result(Rung("2M", DPMPP_2M, OnnxEngine()), timing)
    record = Record({"name": "tiny"}, {"date": "2026-11-23"}, 1.0858, {"fp32": 150.0}, {}, [result])
    record.write(tmp_path / "new/ladder.json")
    (row,) = json.loads((tmp_path / "new/ladder.json").read_text())["rungs"]
    assert row["timing"]["denoiser_gflops"] == 108.58  # in 10 ms
    assert row["timing"]["seconds_per_image"] == 0.12346
    assert row["quality"] is None
