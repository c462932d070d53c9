"""Quality of the checkpoint that ships with the project, on a few prompts and with fewer steps than in earnest."""

import numpy as np
import pytest

from benchmarks.ladder import quality
from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.engines.torch_engine import TorchEngine
from benchmarks.ladder.quality import Quality, distance
from benchmarks.ladder.rungs import Rung
from benchmarks.ladder.samplers import DDIM, DPMPP_2M, Sampler
from benchmarks.ladder.workspace import Workspace


def test_distance_is_in_standard_deviations_of_the_reference():
    rng = np.random.default_rng(0)
    reference = 3 + 2 * rng.standard_normal((200, 4, 8, 8), np.float32)
    rms, (low, high) = distance(reference + 0.1 * rng.standard_normal(reference.shape, np.float32), reference)
    assert rms == pytest.approx(0.05, rel=0.02)
    assert low < rms < high
    assert distance(reference, reference)[0] == 0


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "FINE_STEPS", 60)
    monkeypatch.setattr(quality, "FINER_STEPS", 80)
    monkeypatch.setattr(quality, "CONFIRMED", 2)
    monkeypatch.setattr(quality, "DDPM", Sampler("ddpm", 60))


@pytest.mark.usefixtures("few_steps")
def test_the_shipped_checkpoint_follows_its_prompts_whatever_the_sampler(shipped_workspace: Workspace):
    judged = Quality(shipped_workspace, 4, report=lambda text: None)
    coarse, fine, ddim, ddpm = (
        judged.figures(Rung(str(sampler), sampler, OnnxEngine()))
        for sampler in (Sampler("dpmpp_2m", 8), DPMPP_2M, DDIM, quality.DDPM)
    )
    assert fine.rms < coarse.rms
    assert fine.rms_interval[0] <= fine.rms <= fine.rms_interval[1]
    assert judged.confirmation() < fine.rms
    assert ddpm.rms is None
    for figures in (fine, ddim, ddpm):
        assert figures.adherence >= 0.75
        assert figures.mcnemar >= 0.5  # four pairs can show no difference
    assert fine.engine == "onnxruntime"
    assert fine.psnr > 50  # the graph against plain PyTorch
    assert coarse.psnr is None


@pytest.mark.usefixtures("few_steps")
def test_a_checkpoint_that_knows_no_scenes_is_not_asked_for_them(workspace: Workspace):
    judged = Quality(workspace, 4, report=lambda text: None)
    figures = judged.figures(Rung("plain", DPMPP_2M, TorchEngine()))
    assert figures.adherence is None
    assert figures.mcnemar is None
    assert figures.psnr is None  # it is what others are compared with
    assert figures.rms > 0
