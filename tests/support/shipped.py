"""The checkpoint that ships with the project, and its export as a user makes it."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "shapes/checkpoint"


def export_shipped(folder: Path, options: Sequence[str] = ()) -> Path:
    """Export the shipped checkpoint to `folder`/model_repository."""
    repository = folder / "model_repository"
    command = [sys.executable, "-m", "export", str(SHIPPED), "--repository", str(repository), *options]
    subprocess.run(command, cwd=ROOT, check=True)
    return repository
