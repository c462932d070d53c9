"""Exporting once, with a stand-in for the export, which takes minutes: who exports, who waits, what is left."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from export import cached
from export.plan.plans import Target
from export.runtime import Precision, Runtime

PROGRAM = "import sys; from export import cached; cached.EXPORT = (sys.argv.pop(1),); cached.main()"
ROOT = cached.ROOT


@pytest.fixture
def start(tmp_path, request, shipped_checkpoint):
    """Start it with an export that notes each call in tmp_path/calls and then does as `export` says, in shell."""

    def run(export: str = "true", checkpoint: Path = shipped_checkpoint) -> subprocess.Popen:
        program = Path(tempfile.mkdtemp(dir=tmp_path)) / "export"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nmkdir -p "$3"\n{export}\n')
        program.chmod(0o755)
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            program,
            checkpoint,
            f"--models={tmp_path}",
            f"--link={tmp_path}/link",
        ]
        process = subprocess.Popen(command, cwd=ROOT)
        request.addfinalizer(process.wait)
        request.addfinalizer(process.kill)
        return process

    return run


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines()) if (folder / "calls").exists() else 0


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_there_is_not_exported_again(start, tmp_path):
    assert start().wait(30) == 0
    assert start().wait(30) == 0
    assert calls(tmp_path) == 1


def test_of_many_processes_one_exports_and_the_others_wait_for_it(start, tmp_path):
    processes = [start('sleep 1; echo done >> "$3/content"') for _ in range(4)]
    assert {process.wait(30) for process in processes} == {0}
    assert calls(tmp_path) == 1
    assert (tmp_path / "link/content").read_text() == "done\n"


def test_a_failed_export_fails_with_its_code_and_the_next_tries_again(start, tmp_path):
    assert start("exit 3").wait(30) == 3
    assert not (tmp_path / "link").exists()
    assert start().wait(30) == 0
    assert calls(tmp_path) == 2


def test_told_to_end_it_stops_its_export_at_once_and_the_next_takes_over(start, tmp_path):
    exporting = start("trap 'exit 130' TERM; while :; do sleep 0.01; done")
    wait_until(lambda: calls(tmp_path) == 1)
    waiting = start()
    exporting.send_signal(signal.SIGTERM)
    assert exporting.wait(10) == 143
    assert waiting.wait(30) == 0
    assert calls(tmp_path) == 2


def test_an_export_that_outlives_its_parent_is_waited_for(start, tmp_path):
    killed = start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done; touch {tmp_path}/ended")
    wait_until(lambda: calls(tmp_path) == 1)
    killed.kill()
    waiting = start(f"[ -e {tmp_path}/ended ]")
    wait_until(lambda: f" {waiting.pid} " in Path("/proc/locks").read_text())
    (tmp_path / "go").touch()
    assert waiting.wait(30) == 0


def test_told_to_end_while_it_waits_it_ends_at_once_too(start, tmp_path):
    exporting = start(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    wait_until(lambda: calls(tmp_path) == 1)
    waiting = start()
    wait_until(lambda: f" {waiting.pid} " in Path("/proc/locks").read_text())
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(10) == 143
    (tmp_path / "go").touch()
    assert exporting.wait(30) == 0


def test_another_checkpoint_goes_beside_the_old_one_and_the_link_to_it(start, tmp_path, shipped_checkpoint):
    other = shutil.copytree(shipped_checkpoint, tmp_path / "checkpoints/other")
    assert start().wait(30) == 0
    old = (tmp_path / "link").resolve()
    assert start(checkpoint=other).wait(30) == 0
    new = (tmp_path / "link").resolve()
    assert old.is_dir()
    assert new.is_dir()
    assert new.name.startswith("other-python-fp32-")
    assert not (tmp_path / "link").readlink().is_absolute(), "the volume may be mounted elsewhere"


def name(checkpoint: Path, *options: str) -> str:
    arguments, others = cached.parse_arguments([str(checkpoint), "--models=m", "--link=l", *options])
    return cached.folder_name(arguments, others)


def test_the_name_depends_on_the_checkpoints_content_and_the_options(tmp_path, shipped_checkpoint):
    copy = shutil.copytree(shipped_checkpoint, tmp_path / "checkpoint")
    before = name(shipped_checkpoint)
    assert name(copy) == before
    assert (
        len({before, name(copy, "--height=64"), name(copy, "--runtime=onnxruntime"), name(copy, "--precision=fp16")})
        == 4
    )
    (copy / "serving.json").write_text(json.dumps({"guidance_scale": 3.0}))
    assert name(copy) != before


def test_the_name_of_plans_depends_on_the_gpu_and_the_version_of_tensorrt(monkeypatch, shipped_checkpoint):
    names = {}
    for gpu in ("NVIDIA L4", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"):
        for version in ("10.13.3.9", "11.0.0.1"):
            target = Target("tensorrt", version, ("8.9",), gpu)
            monkeypatch.setattr(cached, "choose_target", lambda runtime, sm, target=target: target)
            names[gpu, version] = name(shipped_checkpoint, "--runtime=tensorrt")
    assert len({*names.values()}) == 4
    assert names["NVIDIA L4", "10.13.3.9"].startswith("checkpoint-tensorrt-fp16-nvidia-l4-10.13.3.9-")
    assert "-nvidia-h100-80gb-hbm3-mig-1g.10gb-11.0.0.1-" in names["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "11.0.0.1"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nowhere"], "error: nowhere: no such folder"),
        (["shapes/checkpoint", "--runtime=tensorrt"], "error: --runtime tensorrt "),
        (["shapes/checkpoint", "--height=7"], "error: --height is "),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(tmp_path, options, says):
    command = [sys.executable, "-m", "export.cached", *options, f"--models={tmp_path}", f"--link={tmp_path}/link"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(says), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "link").is_symlink()


def test_the_folder_is_not_for_the_caller_to_choose(capsys):
    with pytest.raises(SystemExit, match="2"):
        cached.parse_arguments(["checkpoint", "--models=m", "--link=l", "--repository=r"])
    assert "--models" in capsys.readouterr().err


def test_what_it_is_given_without_options_is_what_the_export_takes():
    arguments, others = cached.parse_arguments(["checkpoint", "--models=m", "--link=l", "--runtime=tensorrt"])
    assert (arguments.runtime, arguments.precision, others) == (Runtime.TENSORRT, Precision.FP16, [])
