"""The command line of the GPU proof."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.gpu.__main__ import Part, rungs_of
from benchmarks.ladder.rungs import ladder


def test_the_parts_have_every_rung_of_pytorch_and_diffusers():
    measured = {rung for part in (Part.HEADLINE, Part.RUNGS) for rung in rungs_of(part)}
    assert measured == {rung for rung in ladder() if rung.engine.exported is None}


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
    assert figures.keys() == {"headline", "rungs", "served"}
    assert figures["headline"]["not_run"] == figures["rungs"]["not_run"] == {}
    assert figures["headline"]["alone_and_among_others"]["others"] == 7
    served = figures["served"]
    assert served["networks_in_process"]["among_others"]["bit_equal"], "on the CPU"
    assert served["loop"]["psnr_to_served"] is None, "equal"
    assert [run["at_once"] for run in served["networks_in_process"]["runs"]] == 2 * [1, 2, 4, 8, 16]
    assert [run["at_once"] for run in served["networks_models"]["runs"]] == 2 * [1, 8]
