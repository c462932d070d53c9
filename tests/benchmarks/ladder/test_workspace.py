"""Folders that tell checkpoints apart, and exports that are made only once."""

from dataclasses import replace
from pathlib import Path

import benchmarks.ladder.workspace
from benchmarks.ladder.workspace import Workspace
from export.checkpoint.components import Checkpoint


def test_the_folder_follows_whatever_changes_the_images_and_nothing_else(tiny: Checkpoint, broken_folder: Path):
    def folder() -> str:
        return Workspace(replace(tiny, folder=broken_folder), Path("root")).folder.name

    original = Workspace(tiny, Path("root")).folder.name
    assert folder() == original
    (broken_folder / "evaluation.json").write_text("{}")
    assert folder() == original
    with (broken_folder / "unet/diffusion_pytorch_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    changed = folder()
    assert changed != original
    (broken_folder / "serving.json").write_text('{"guidance_scale": 3.0}')
    assert folder() != changed


def test_graphs_are_exported_once_and_again_when_the_code_changes(tiny: Checkpoint, tmp_path: Path, monkeypatch):
    exported = []

    def write_repository(export, repository, report):
        exported.append((repository, export.precision))
        repository.mkdir(exist_ok=True)

    monkeypatch.setattr(benchmarks.ladder.workspace, "write_repository", write_repository)
    code = tmp_path / "code"
    code.mkdir()
    (code / "graphs.py").write_text("OPSET = 20")
    monkeypatch.setattr(benchmarks.ladder.workspace, "CODE", code)
    workspace = Workspace(tiny, tmp_path / "benchmark")
    for _ in range(2):
        workspace.export("fp16", report=print)
    assert exported == [(workspace.repository("fp16"), "fp16")]
    (code / "graphs.py").write_text("OPSET = 21")
    workspace.export("fp16", report=print)
    assert len(exported) == 2
