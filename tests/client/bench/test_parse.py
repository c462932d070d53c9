"""Reading what a real run of perf_analyzer left behind; `recorded` says what it printed."""

import json
from pathlib import Path

import numpy as np
import pytest
from triton_diffusion.bench.errors import BenchError
from triton_diffusion.bench.parse import read_model_time, read_profile
from triton_diffusion.bench.results import Percentiles

RECORDED = Path(__file__).parent / "recorded"


def test_latencies_are_those_that_perf_analyzer_printed():
    profile = read_profile(RECORDED / "profile.json")
    assert profile.requests == 16
    assert profile.latencies.mean() == pytest.approx(1879.225, abs=0.001)
    assert profile.latencies.std(ddof=1) == pytest.approx(737.568, abs=0.001)
    assert sorted(profile.latencies)[8] == pytest.approx(1873.248, abs=0.001)  # its p50 is the upper middle one


def test_throughput_counts_from_the_first_request_to_the_last_image():
    profile = read_profile(RECORDED / "profile.json")
    requests = json.loads((RECORDED / "profile.json").read_text())["experiments"][0]["requests"]
    sent = [request["timestamp"] for request in requests]
    received = [request["response_timestamps"][0] for request in requests]
    assert profile.images_per_second == pytest.approx(16e9 / (max(received) - min(sent)))
    assert profile.sent_per_second == pytest.approx(15e9 / (max(sent) - min(sent)))
    in_whole_seconds = 3.19619  # report.csv: 16 in 5 s, of which nothing happened in the last 0.7
    assert profile.images_per_second > 1.1 * in_whole_seconds


def test_a_prompt_that_looks_like_the_file_itself_is_no_time(tmp_path):
    text = (RECORDED / "profile.json").read_text()
    trap = json.dumps('"timestamp":5,"response_timestamps":[7]')
    (tmp_path / "profile.json").write_text(text.replace('"a large green square"', trap))
    assert trap in (tmp_path / "profile.json").read_text()
    np.testing.assert_array_equal(
        read_profile(tmp_path / "profile.json").latencies, read_profile(RECORDED / "profile.json").latencies
    )


def test_a_profile_without_requests_is_told(tmp_path):
    (tmp_path / "profile.json").write_text('{"experiments":[]}')
    with pytest.raises(BenchError, match=r"profile\.json of perf_analyzer holds no request"):
        read_profile(tmp_path / "profile.json")


def test_model_times():
    denoiser = read_model_time(RECORDED / "denoiser_v1.report.csv")
    assert (denoiser.queue, denoiser.compute) == (0.129, pytest.approx(0.080 + 54.221 + 0.216))
    front = read_model_time(RECORDED / "report.csv")
    assert (front.queue, front.compute) == (0.411, pytest.approx(0.082 + 1876.006 + 0.372))


def test_percentiles():
    assert Percentiles.of(np.arange(101.0)) == Percentiles(50, 90, 99)
    assert Percentiles.of(np.array([3.0])) == Percentiles(3, 3, 3)
