"""The rungs, measured by the code that runs on a GPU, with tiny networks on the CPU."""

import json
import os
import subprocess
import sys
import time

import pytest

from benchmarks.gpu.__main__ import REHEARSAL, Part, prepare, rungs_of
from benchmarks.gpu.ladder import Ladder
from benchmarks.gpu.record import Record
from benchmarks.gpu.workers import Worker, WorkerError
from benchmarks.ladder.engines.diffusers_engine import DiffusersEngine
from benchmarks.ladder.engines.torch_engine import TorchEngine
from benchmarks.ladder.rungs import ladder
from export.checkpoint.random_weights import Architecture


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("gpu"), Architecture.TINY, lambda text: None)


class Broken(TorchEngine):
    def open(self, workspace):
        raise RuntimeError("out of memory")


class Killed(TorchEngine):
    def open(self, workspace):
        os._exit(9)


class Slow(TorchEngine):
    def open(self, workspace):
        time.sleep(600)


def test_the_parts_have_every_rung_of_pytorch_and_diffusers():
    measured = {rung for part in Part for rung in rungs_of(part)}
    assert measured == {rung for rung in ladder() if rung.engine.exported is None}


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
    assert all(row["call_ms"] > 0 and row["seconds_an_image"] > 0 for row in figures["rungs"])
    assert figures["not_run"] == {}
    psnr = figures["psnr_to_fp32"][DiffusersEngine().name]
    assert psnr is None or psnr > 50  # None: equal


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        (Broken(), "RuntimeError: out of memory"),
        (Killed(), "its process ended with code 9"),
        (Slow(), "was not compiled in the time that this part has"),
    ],
)
def test_an_engine_that_cannot_be_opened_gives_its_reason(workspace, engine, reason):
    worker = Worker(engine, workspace)
    try:
        with pytest.raises(WorkerError, match=reason):
            worker.wait(time.monotonic() + (5 if isinstance(engine, Slow) else 120))
    finally:
        worker.close()


def test_without_a_gpu_only_a_rehearsal_runs(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", f"--output={tmp_path}"]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert ended.returncode != 0
    assert "no GPU that PyTorch can use" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_the_whole_of_it_is_rehearsed(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", f"--output={tmp_path}", "--rehearse"]
    subprocess.run(command, check=True, timeout=1800)
    figures = json.loads((tmp_path / "gpu.json").read_text())
    assert figures.keys() == {"headline", "rungs"}
    assert all(part["not_run"] == {} for part in figures.values())
    assert figures["headline"]["alone_and_among_others"]["others"] == 7
