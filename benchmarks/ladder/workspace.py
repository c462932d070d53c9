"""Workspace: the folder of one checkpoint's exports and images."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from export.checkpoint.components import Checkpoint
from export.checkpoint.layout import COMPONENTS
from export.config import Precision, Runtime
from export.plan.plans import choose_target
from export.repository import Export, write_repository
from export.sizes import choose_sizes

CODE = Path(__file__).parents[2] / "export"
KINDS = {
    "fp32": (Runtime.PYTHON, Precision.FP32),
    "fp16": (Runtime.PYTHON, Precision.FP16),
    "tensorrt": (Runtime.TENSORRT, Precision.FP16),
}
"""Runtime and precision of each kind of export, by name."""
MADE_BY = "made_by"
"""The file beside the exported models that tells which code has written them."""


@dataclass(frozen=True)
class Workspace:
    """`ROOT/DIGEST/`: everything in it belongs to the checkpoint of that content, so a later run goes on from there."""

    checkpoint: Checkpoint
    root: Path
    threads: int = 0  # of the CPU that a network may use; 0 for all cores

    @cached_property
    def folder(self) -> Path:
        folder = self.checkpoint.folder
        return self.root / digest(folder, files_that_matter(folder))

    @property
    def images(self) -> Path:
        """The folder of the images that quality is judged by."""
        return self.folder / "images"

    def repository(self, kind: str = "fp32") -> Path:
        """The folder of the checkpoint's model repository of that kind, one of `KINDS`."""
        return self.folder / kind

    def networks(self) -> list[str]:
        """Names of the checkpoint's networks, as the export lists them."""
        facts = json.loads((self.repository() / "diffusion/1/checkpoint.json").read_text())
        return list(facts["networks"])

    def export(self, kind: str, report: Callable[[str], None]) -> None:
        """Write the repository of that kind unless it is there, written by this very code."""
        repository = self.repository(kind)
        made_by = repository / MADE_BY
        if made_by.exists() and made_by.read_text() == code_digest():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        sizes, (runtime, precision) = choose_sizes(self.checkpoint, None, None), KINDS[kind]
        target = choose_target(runtime, None)
        write_repository(Export(self.checkpoint, sizes, runtime, precision, target=target), repository, report)
        made_by.write_text(code_digest())


def code_digest() -> str:
    """The digest of the export's code."""
    return digest(CODE, CODE.rglob("*.py"))


def files_that_matter(checkpoint: Path) -> list[Path]:
    """The files of the checkpoint in that folder that its images depend on."""
    files = [path for name in COMPONENTS for path in (checkpoint / name).rglob("*") if path.is_file()]
    return files + [path for path in (checkpoint / "serving.json",) if path.exists()]


def digest(folder: Path, files: Iterable[Path]) -> str:
    """Twelve hexadecimal digits of the names and contents of `files` in `folder`."""
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder)} {content}\n".encode())
    return total.hexdigest()[:12]
