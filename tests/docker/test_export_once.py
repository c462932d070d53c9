"""The exporter's script, with a stand-in for the export, which takes minutes: who exports, who waits, what is left."""

import ast
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from export.config import Precision, Runtime
from tests.docker.manifests import KUBERNETES, OVERLAYS, ROOT, needs_kubectl, render

SCRIPT = KUBERNETES / "base/export-once.sh"


@pytest.fixture
def start(tmp_path, request):
    """Start the script; its `python` notes each call in tmp_path/calls and then does as `export` says."""

    def run(export: str = "true") -> subprocess.Popen:
        program = Path(tempfile.mkdtemp(dir=tmp_path)) / "python"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{export}\n')
        program.chmod(0o755)
        environment = {
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "CHECKPOINT": "a checkpoint",
            "RUNTIME": "python",
            "PRECISION": "fp32",
            "REPOSITORY": str(tmp_path / "repository"),
        }
        process = subprocess.Popen(["sh", str(SCRIPT)], env=environment)
        request.addfinalizer(process.wait)
        request.addfinalizer(process.kill)
        return process

    return run


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines()) if (folder / "calls").exists() else 0


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_there_is_not_exported_again(start, tmp_path):
    assert start().wait(10) == 0
    assert start().wait(10) == 0
    assert calls(tmp_path) == 1


def test_of_many_pods_one_exports_and_the_others_wait_for_it(start, tmp_path):
    pods = [start("sleep 0.5; echo done >> $REPOSITORY") for _ in range(5)]
    assert {pod.wait(10) for pod in pods} == {0}
    assert calls(tmp_path) == 1
    assert (tmp_path / "repository").read_text() == "done\n"


def test_a_failed_export_fails_the_pod_and_the_next_tries_again(start, tmp_path):
    assert start("exit 2").wait(10) == 2
    assert start().wait(10) == 0
    assert calls(tmp_path) == 2


def test_a_deleted_pod_stops_its_export_at_once_and_the_next_takes_over(start, tmp_path):
    exporting = start("trap 'exit 130' TERM; while :; do sleep 0.01; done")
    wait_until(lambda: calls(tmp_path) == 1)
    waiting = start()
    exporting.send_signal(signal.SIGTERM)
    assert exporting.wait(5) == 143
    assert waiting.wait(5) == 0
    assert calls(tmp_path) == 2


def test_a_deleted_pod_that_waits_ends_at_once_too(start, tmp_path):
    exporting = start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    wait_until(lambda: calls(tmp_path) == 1)
    waiting = start()
    wait_until(lambda: Path(f"/proc/{waiting.pid}/task/{waiting.pid}/children").read_text())  # its flock
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(5) == 143
    (tmp_path / "go").touch()
    assert exporting.wait(5) == 0


def test_the_export_has_the_options_that_it_is_given():
    tree = ast.parse((ROOT / "export/__main__.py").read_text())
    (command,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "export")
    options = {argument.arg for argument in command.args.args}
    assert {*re.findall(r" --([\w-]+) ", SCRIPT.read_text())} == {"repository", "runtime", "precision"} <= options


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlays_ask_for_what_the_export_knows(overlay):
    (settings,) = (o["data"] for o in render(overlay) if o["kind"] == "ConfigMap" and "CHECKPOINT" in o["data"])
    assert settings["PRECISION"] in [*Precision]
    assert settings["RUNTIME"] in [*Runtime]
    assert (ROOT / settings["CHECKPOINT"] / "model_index.json").exists()
