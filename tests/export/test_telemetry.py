"""ONNX Runtime tells Microsoft what it runs, unless it is told not to before it is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from export.repository import PYTHON_CODE

OPEN_NETWORK = f"import runpy; runpy.run_path({str(PYTHON_CODE[-1])!r})"


@pytest.mark.parametrize("program", ["import export.in_process", OPEN_NETWORK])
def test_neither_the_export_nor_the_served_network_lets_it_prepare_a_report(tmp_path, program):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env={"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not [*tmp_path.rglob("*")], "without the setting its device id and database are here"
