"""Finding the real perf_analyzer, and what is said where there is none or it gives up."""

import os
from pathlib import Path

import pytest
from triton_diffusion.bench.errors import BenchError
from triton_diffusion.bench.perf_analyzer import find_perf_analyzer, reason


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    """No perf_analyzer on the PATH, and a package index that has none."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "bin"))
    return tmp_path


def test_it_starts_and_says_its_version(analyzer):
    assert analyzer.version == "2.51.0" or "perf_analyzer" in os.listdir(analyzer.binary.parent)


def test_a_relative_folder_will_do(analyzer, monkeypatch, unused_url, tmp_path):
    monkeypatch.chdir(analyzer.binary.parent.parent)
    found = find_perf_analyzer(Path(analyzer.binary.parent.name))
    with pytest.raises(BenchError, match="perf_analyzer: "):
        found.run(["-m", "text_to_image", "-u", unused_url, "-i", "grpc"], tmp_path, timeout=60)


def test_nowhere_to_be_found(nothing_installed):
    with pytest.raises(BenchError) as caught:
        find_perf_analyzer(nothing_installed / "cache")
    line = str(caught.value)
    assert line.startswith("no perf_analyzer on the PATH, and `pip download tritonclient==2.51.0` failed")
    assert "No matching distribution" in line
    assert "tritonserver:YY.MM-py3-sdk" in line
    assert "\n" not in line
    assert list((nothing_installed / "cache").iterdir()) == []


def test_another_kind_of_machine(nothing_installed, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(BenchError, match="none to fetch for Linux on aarch64"):
        find_perf_analyzer(nothing_installed / "cache")


def test_the_one_on_the_path_comes_first_and_gets_the_libraries_it_lacks(analyzer, monkeypatch, tmp_path):
    installed = tmp_path / "bin/perf_analyzer"
    installed.parent.mkdir()
    installed.symlink_to(analyzer.binary)
    monkeypatch.setenv("PATH", f"{installed.parent}{os.pathsep}{os.environ['PATH']}")
    found = find_perf_analyzer(tmp_path / "cache")
    assert found.binary == installed
    assert found.version == analyzer.version
    assert not (tmp_path / "cache/perf_analyzer").exists()


def test_one_that_does_not_start_is_told(analyzer, monkeypatch, tmp_path):
    broken = tmp_path / "bin/perf_analyzer"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BenchError, match=f"{broken} does not start here"):
        find_perf_analyzer(analyzer.binary.parent)


def test_it_gives_its_own_reason(analyzer, unused_url, tmp_path):
    with pytest.raises(BenchError) as caught:
        analyzer.run(["-m", "text_to_image", "-u", unused_url, "-i", "grpc"], tmp_path, timeout=60)
    assert "failed to connect" in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_it_may_not_run_for_ever(analyzer, unused_url, tmp_path):
    with pytest.raises(BenchError, match="did not end within 0 s: ask for fewer --requests"):
        analyzer.run(["--help"], tmp_path, timeout=0.001)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "Request concurrency: 2\n\nFailed to maintain requested inference load. Worker thread(s) failed to generate"
            " concurrent requests.\nThread [0] had error: num_inference_steps is 0: use 1 to 1000\n",
            "num_inference_steps is 0: use 1 to 1000",
        ),
        (
            "\nError: request-count not supported with multiple concurrency values in one run\nUsage: perf_analyzer\n",
            "request-count not supported with multiple concurrency values in one run",
        ),
        ("", "it ended without a word"),
    ],
)
def test_the_reason_in_recorded_outputs(output, expected):
    assert reason(output) == expected
