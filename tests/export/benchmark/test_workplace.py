"""What tells checkpoints apart, and what is exported when."""

from pathlib import Path

import export.benchmark.workplace
from export.benchmark.workplace import Workplace, digest
from export.checkpoint import read_checkpoint


def test_the_digest_follows_whatever_changes_the_pictures_and_nothing_else(tiny_folder: Path, broken_folder: Path):
    assert digest(broken_folder) == digest(tiny_folder)
    (broken_folder / "evaluation.json").write_text("{}")
    assert digest(broken_folder) == digest(tiny_folder)
    with (broken_folder / "unet/diffusion_pytorch_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    changed = digest(broken_folder)
    assert changed != digest(tiny_folder)
    (broken_folder / "serving.json").write_text('{"guidance_scale": 3.0}')
    assert digest(broken_folder) != changed


def test_the_graphs_are_exported_once(tiny_folder: Path, tmp_path: Path, monkeypatch):
    exported = []

    def write_repository(checkpoint, sizes, repository, runtime, precision, report):
        exported.append((repository.name, precision))
        (repository / "unet").mkdir(parents=True)

    monkeypatch.setattr(export.benchmark.workplace, "write_repository", write_repository)
    for _ in range(2):
        workplace = Workplace(read_checkpoint(str(tiny_folder)), tmp_path)
        workplace.export("fp16", report=lambda text: None)
    assert exported == [("fp16", "fp16")]
    assert (tmp_path / digest(tiny_folder) / "fp16/unet").is_dir()
