"""Engines compute the same, and say what they lack."""

import numpy as np
import pytest

from export.benchmark.diffusers_engine import DiffusersEngine
from export.benchmark.engines import Engine, OnnxEngine, device
from export.benchmark.samplers import DPMPP_2M
from export.benchmark.tensorrt_engine import TensorRTEngine
from export.benchmark.torch_engine import ServedTorchEngine, TorchEngine
from export.benchmark.workplace import Workplace
from export.gate import relative_error


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
def test_every_engine_computes_what_the_graph_does(workplace: Workplace, engine: Engine, tolerance: float):
    exact = OnnxEngine().open(workplace)
    inputs = exact.unet_inputs()
    output = engine.open(workplace).unet(*inputs)
    assert output.dtype == np.float32
    assert relative_error(exact.unet(*inputs), output) < tolerance


@pytest.mark.skipif(device() != "cuda", reason="no GPU")
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_a_plan_computes_what_the_graph_does(workplace: Workplace, cuda_graphs: bool):
    pytest.importorskip("tensorrt")
    workplace.export("tensorrt", report=print)
    exact, plan = OnnxEngine().open(workplace), TensorRTEngine(cuda_graphs=cuda_graphs).open(workplace)
    inputs = exact.unet_inputs()
    for _ in range(2):  # the second call replays the graph
        assert relative_error(exact.unet(*inputs), plan.unet(*inputs)) < 1e-2


def test_diffusers_pipeline_draws_the_same_picture(workplace: Workplace):
    ours, theirs = (engine.open(workplace).picture(DPMPP_2M, seed=3) for engine in (OnnxEngine(), DiffusersEngine()))
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_an_engine_says_what_it_lacks(workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
    assert OnnxEngine().missing(workplace) is None
    assert TensorRTEngine().missing(workplace) == "no GPU on this machine"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "install no-such-compiler" in TorchEngine(compiled=True).missing(workplace)
    assert TorchEngine().missing(workplace) is None
