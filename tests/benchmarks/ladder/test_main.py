"""The command line of `python -m benchmarks.ladder`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from benchmarks.ladder import quality, run
from benchmarks.ladder.__main__ import app
from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.engines.tensorrt_engine import TensorRTEngine
from benchmarks.ladder.engines.torch_engine import TorchEngine
from benchmarks.ladder.rungs import Rung, ladder
from benchmarks.ladder.samplers import DDIM, DDPM, DPMPP_2M, Sampler
from benchmarks.ladder.workspace import Workspace


class BrokenEngine(OnnxEngine):
    """Fails when it is opened."""

    @property
    def name(self) -> str:
        return "broken"

    def open(self, workspace: Workspace):
        raise RuntimeError("no such kernel")


@pytest.fixture
def small_ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rungs, and a reference of few steps."""
    rungs = [
        Rung("DDIM", DDIM, OnnxEngine()),
        Rung("2M", DPMPP_2M, OnnxEngine()),
        Rung("broken", DPMPP_2M, BrokenEngine()),
        Rung("TensorRT", DPMPP_2M, TensorRTEngine()),
    ]
    monkeypatch.setattr(run, "ladder", lambda: rungs)
    monkeypatch.setattr(quality, "FINE_STEPS", 60)
    monkeypatch.setattr(quality, "FINER_STEPS", 80)


def benchmark(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("small_ladder")
def test_every_rung_is_measured_or_says_why_not(workspace: Workspace, tmp_path: Path):
    output = tmp_path / "docs/ladder.json"
    folder = workspace.checkpoint.folder
    result = benchmark(folder, "--folder", workspace.root, "--images", 4, "--threads", 1, "--output", output)
    assert result.stderr == ""
    for text in ("Speed", "Quality", "no GPU on this machine", "failed: RuntimeError: no such kernel"):
        assert text in result.stdout
    record = json.loads(output.read_text())
    rungs = {rung["rung"]: rung for rung in record["rungs"]}
    for name in ("DDIM", "2M"):
        assert rungs[name]["skipped"] is None
        assert rungs[name]["timing"]["seconds_per_image"] > 0
        assert rungs[name]["quality"]["rms"] > 0
    assert rungs["2M"]["steps"] == 20
    assert rungs["TensorRT"]["timing"] is rungs["TensorRT"]["quality"] is None
    assert rungs["TensorRT"]["skipped"] == "no GPU on this machine"
    assert record["machine"]["date"]
    assert record["reference"]["distance_from_finer"]["distance"] > 0
    distance, likeness = record["gates"]
    assert distance["holds"] == (rungs["2M"]["quality"]["rms"] <= rungs["DDIM"]["quality"]["rms"])
    assert likeness["holds"]
    assert "holds: PSNR" in result.stdout
    assert result.exit_code == (0 if distance["holds"] else 1)
    with Image.open(output.with_suffix(".png")) as image:
        assert image.width > 800


def test_a_wrong_checkpoint_is_one_line(tmp_path: Path):
    result = benchmark(tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_an_interrupt_says_how_to_go_on(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.Run, "measure", interrupt)
    result = benchmark(workspace.checkpoint.folder)
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def test_the_ladder_has_every_rung_of_the_claim():
    rungs = ladder()
    assert [rung.sampler for rung in rungs[:3]] == [DDPM, DDIM, DPMPP_2M]
    assert all(rung.sampler == Sampler("dpmpp_2m", 20) for rung in rungs[3:])
    engines = [rung.engine for rung in rungs[2:]]
    assert len({engine.name for engine in engines}) == len(engines)
    assert TorchEngine("fp16", compiled=True) in engines
    assert TensorRTEngine(cuda_graphs=True) in engines


def test_the_exports_help_names_it():
    command = [sys.executable, "-m", "export", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "python -m benchmarks.ladder CHECKPOINT" in " ".join(result.stdout.split())
