"""Where a benchmark of one checkpoint keeps what it has exported and generated."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from export.checkpoint import Checkpoint
from export.config import Precision, Runtime
from export.layout import COMPONENTS
from export.repository import write_repository
from export.sizes import choose_sizes


@dataclass(frozen=True)
class Workplace:
    """`ROOT/DIGEST/`: everything in it follows from the checkpoint's content, so a later run goes on from there."""

    checkpoint: Checkpoint
    root: Path
    threads: int = 0  # of the CPU that a network may use; 0 for all cores

    @cached_property
    def folder(self) -> Path:
        return self.root / digest(self.checkpoint.folder)

    @property
    def pictures(self) -> Path:
        """The folder of the pictures that quality is judged by."""
        return self.folder / "pictures"

    def repository(self, kind: str = "fp32") -> Path:
        """The folder of the checkpoint's graphs (`fp32`, `fp16`) or plans (`tensorrt`) as a model repository."""
        return self.folder / kind

    def export(self, precision: str, report: Callable[[str], None]) -> None:
        """Write the repository of graphs in `precision` unless it is there."""
        repository = self.repository(precision)
        if not (repository / "unet").is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            sizes = choose_sizes(self.checkpoint, None, None)
            write_repository(self.checkpoint, sizes, repository, Runtime.PYTHON, Precision(precision), report)


def digest(folder: Path) -> str:
    """Twelve hexadecimal digits that tell checkpoints apart by what the pictures depend on."""
    files = [path for name in COMPONENTS for path in (folder / name).rglob("*") if path.is_file()]
    files += [path for path in (folder / "serving.json",) if path.exists()]
    total = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder)} {content}\n".encode())
    return total.hexdigest()[:12]
