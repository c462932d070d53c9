"""Timing, in a process of its own."""

import time

import pytest
from networks import NetworkError

from benchmarks.ladder import timing
from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.samplers import Sampler
from benchmarks.ladder.timing import measure, stopwatch
from benchmarks.ladder.workspace import Workspace


def test_the_figures_fit_each_other(workspace: Workspace):
    found = measure(OnnxEngine(), Sampler("dpmpp_2m", 4), workspace)
    assert found.denoiser_rows == 2
    assert 0 < found.denoiser_ms_median <= found.denoiser_ms_p99
    assert found.denoiser_calls >= timing.MIN_CALLS
    assert found.seconds_per_image * 1000 > 2 * found.denoiser_ms_median  # four steps, text and decoder
    assert found.images_per_hour == pytest.approx(3600 / found.seconds_per_image)
    assert 100 < found.peak_memory_mb < 2000


def test_what_goes_wrong_in_the_process_is_told(workspace: Workspace):
    with pytest.raises(NetworkError, match="tensorrt/text_encoder has no version"):
        measure(OnnxEngine("tensorrt"), Sampler("dpmpp_2m", 4), workspace)


def test_the_stopwatch_stops_when_it_has_enough(monkeypatch: pytest.MonkeyPatch):
    assert len(stopwatch(lambda k: None, least=2, most=5)) == 5
    monkeypatch.setattr(timing, "SECONDS", 0.05)
    seconds = stopwatch(lambda k: time.sleep(0.02), least=2, most=50)
    assert 2 <= len(seconds) <= 4
    assert min(seconds) >= 0.02
    assert len(stopwatch(lambda k: time.sleep(0.06), least=2, most=50)) == 2
