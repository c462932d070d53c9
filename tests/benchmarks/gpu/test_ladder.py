"""The rungs, measured by the code that runs on a GPU, with tiny networks on the CPU."""

import json

from benchmarks.gpu.__main__ import REHEARSAL, Part, rungs_of
from benchmarks.gpu.ladder import Ladder
from benchmarks.gpu.record import Record
from benchmarks.ladder.engines.diffusers_engine import DiffusersEngine
from benchmarks.ladder.engines.torch_engine import TorchEngine


def test_what_is_not_compiled_is_measured_from_first_to_last(workspace, tmp_path):
    rungs = [rung for rung in rungs_of(Part.HEADLINE) if rung.engine in (TorchEngine(), DiffusersEngine())]
    Ladder(workspace, Record(tmp_path / "gpu.json", "headline", {}), REHEARSAL, rungs, lambda text: None).measure()
    figures = json.loads((tmp_path / "gpu.json").read_text())["headline"]
    assert [(row["rung"], row["steps"]) for row in figures["rungs"]] == [
        ("DDPM, 1000 steps", 1000),
        ("DDIM, 50 steps", 50),
        ("DPM++ 2M, 20 steps", 20),
        ("diffusers' pipeline", 20),
    ]
    assert [row["concluded_from_fewer_steps"] for row in figures["rungs"]] == [True, False, False, False]
    assert all(row["call_ms"] > 0 for row in figures["rungs"])
    # On a busy machine the last of so few steps may take less time than the first.
    assert all(row["seconds_an_image"] > 0 for row in figures["rungs"] if not row["concluded_from_fewer_steps"])
    assert figures["not_run"] == {}
    psnr = figures["psnr_to_fp32"][DiffusersEngine().name]
    assert psnr is None or psnr > 50  # None: equal
