"""Engines compute the same, and say what they lack."""

import numpy as np
import pytest

from benchmarks.ladder.engines.diffusers_engine import DiffusersEngine
from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.engines.tensorrt_engine import TensorRTEngine
from benchmarks.ladder.engines.torch_engine import ServedTorchEngine, TorchEngine
from benchmarks.ladder.samplers import DPMPP_2M
from benchmarks.ladder.workspace import Workspace
from export.graph.gate import relative_error


@pytest.mark.parametrize(
    ("engine", "tolerance"),
    [
        (TorchEngine(), 1e-5),
        (TorchEngine(efficient_attention=True), 1e-5),
        (TorchEngine("fp16"), 1e-2),
        (TorchEngine("bf16", efficient_attention=True), 5e-2),
        (DiffusersEngine(), 1e-5),
        pytest.param(TorchEngine(compiled=True), 1e-5, marks=pytest.mark.slow),
        pytest.param(ServedTorchEngine(), 1e-5, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_every_engine_computes_what_the_graph_does(workspace: Workspace, engine: Engine, tolerance: float):
    exact = OnnxEngine().open(workspace)
    inputs = exact.denoiser_inputs()
    expected, found = (loop.networks["denoiser"](**inputs) for loop in (exact, engine.open(workspace)))
    assert found.keys() == expected.keys()
    for name, output in found.items():
        assert output.dtype == np.float32
        assert relative_error(expected[name], output) < tolerance


@pytest.mark.skipif(device() != "cuda", reason="no GPU")
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_a_plan_computes_what_the_graph_does(workspace: Workspace, cuda_graphs: bool):
    pytest.importorskip("tensorrt")
    workspace.export("tensorrt", report=print)
    loops = OnnxEngine().open(workspace), TensorRTEngine(cuda_graphs=cuda_graphs).open(workspace)
    inputs = loops[0].denoiser_inputs()
    for _ in range(2):  # the second call replays the graph
        exact, plan = (loop.networks["denoiser"](**inputs)["model_output"] for loop in loops)
        assert relative_error(exact, plan) < 1e-2


def test_diffusers_pipeline_draws_the_same_image(workspace: Workspace):
    ours, theirs = (engine.open(workspace).image(DPMPP_2M, seed=3) for engine in (OnnxEngine(), DiffusersEngine()))
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_an_engine_says_what_it_lacks(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    assert OnnxEngine().missing(workspace) is None
    assert TensorRTEngine().missing(workspace) == "no GPU on this machine"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "install no-such-compiler" in TorchEngine(compiled=True).missing(workspace)
    assert TorchEngine().missing(workspace) is None
