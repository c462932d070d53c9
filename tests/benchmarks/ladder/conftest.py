"""Workspaces around copies of exports that other tests have made already."""

import shutil
from pathlib import Path

import pytest

from benchmarks.ladder.workspace import MADE_BY, Workspace, code_digest
from export.checkpoint.components import Checkpoint, read_checkpoint


def place(checkpoint: Checkpoint, exported: Path, root: Path) -> Workspace:
    workspace = Workspace(checkpoint, root, threads=1)
    shutil.copytree(exported, workspace.repository())
    (workspace.repository() / MADE_BY).write_text(code_digest())
    return workspace


@pytest.fixture
def workspace(tiny: Checkpoint, repository: Path, tmp_path: Path) -> Workspace:
    """Of the tiny random checkpoint: no images yet."""
    return place(tiny, repository, tmp_path / "benchmark")


@pytest.fixture
def shipped_workspace(shipped_checkpoint: Path, shipped_repository: Path, tmp_path: Path) -> Workspace:
    """Of the checkpoint that ships with the project: no images yet."""
    return place(read_checkpoint(str(shipped_checkpoint)), shipped_repository, tmp_path / "benchmark")
