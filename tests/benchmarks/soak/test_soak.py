"""A short soak of a real server."""

import json
import subprocess
import sys

import pytest

from benchmarks.soak.plot import CONTROL
from benchmarks.soak.usage import FILES, MEMORY, SHARED, THREADS
from tests.support.launching import ROOT


@pytest.mark.slow
def test_two_minutes_lose_nothing_and_the_leaky_control_is_seen(shipped_repository, tmp_path):
    record, plot = tmp_path / "soak.json", tmp_path / "soak.png"
    options = ["--minutes=2", "--rate=6", f"--repository={shipped_repository}", f"--output={record}", f"--plot={plot}"]
    subprocess.run([sys.executable, "-m", "benchmarks.soak", *options], cwd=ROOT, check=False)
    soak = json.loads(record.read_text())
    assert soak["failed"] == {}
    assert soak["restarts"] == 0
    assert soak["asked"].keys() == {"images", "cancelled", "bad", "killed"}
    assert sum(soak["asked"].values()) > 100
    control = soak["processes"].pop(CONTROL)[MEMORY]
    assert control["grows"]
    assert control["growth_percent"] == pytest.approx(2.1, abs=0.3)
    # Memory still finds its level in the first minutes; what is counted has found it.
    assert {
        process: found
        for process, quantities in soak["processes"].items()
        for quantity, found in quantities.items()
        if quantity in (FILES, SHARED) or (quantity == THREADS and process != "clients")
        if found["grows"]
    } == {}
    assert plot.stat().st_size > 10_000
