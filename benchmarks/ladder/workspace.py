"""Workspace: the folder of one checkpoint's exports and images."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from export.checkpoint.components import Checkpoint
from export.digest import digest
from export.plan.plans import choose_target
from export.repository import Export, write_repository
from export.runtime import Precision, Runtime
from export.sizes import choose_sizes

CODE = Path(__file__).parents[2] / "export"
KINDS = {
    "fp32": (Runtime.PYTHON, Precision.FP32),
    "fp16": (Runtime.PYTHON, Precision.FP16),
    "tensorrt": (Runtime.TENSORRT, Precision.FP16),
}
"""Runtime and precision of each kind of export, by name."""
DIGITS = 12
"""Of a digest: enough to tell the checkpoints of one machine apart."""
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
        return self.root / digest(folder, files_that_matter(self.checkpoint))[:DIGITS]

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
        order = Export(self.checkpoint, sizes, self.checkpoint.networks(sizes), runtime, precision, target=target)
        write_repository(order, repository, report)
        made_by.write_text(code_digest())


def code_digest() -> str:
    """The digest of the export's code."""
    return digest(CODE, CODE.rglob("*.py"))[:DIGITS]


def files_that_matter(checkpoint: Checkpoint) -> list[Path]:
    """The checkpoint's files that its images depend on."""
    folder = checkpoint.folder
    files = [path for name in checkpoint.family.components for path in (folder / name).rglob("*") if path.is_file()]
    return files + [path for path in (folder / "serving.json",) if path.exists()]
