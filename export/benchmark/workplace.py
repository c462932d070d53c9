"""Where a benchmark of one checkpoint keeps what it has exported and generated."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from export.checkpoint import Checkpoint
from export.config import Runtime
from export.layout import COMPONENTS
from export.repository import write_repository
from export.sizes import choose_sizes


class Workplace:
    """`ROOT/DIGEST/`: everything in it follows from the checkpoint's content, so a later run goes on from there."""

    def __init__(self, checkpoint: Checkpoint, root: Path) -> None:
        self.checkpoint = checkpoint
        self.digest = digest(checkpoint.folder)
        self.folder = root / self.digest

    def repository(self, report: Callable[[str], None]) -> Path:
        """The checkpoint's FP32 graphs as a model repository, exported unless they are there."""
        folder = self.folder / "fp32"
        if not (folder / "unet").is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            sizes = choose_sizes(self.checkpoint, None, None)
            write_repository(self.checkpoint, sizes, folder, Runtime.PYTHON, report)
        return folder


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
