"""Workplaces around copies of exports that other tests have made already."""

import shutil
from pathlib import Path

import pytest

from export.benchmark.workplace import MADE_BY, Workplace, code_digest
from export.checkpoint import Checkpoint, read_checkpoint


def place(checkpoint: Checkpoint, exported: Path, root: Path) -> Workplace:
    workplace = Workplace(checkpoint, root, threads=1)
    shutil.copytree(exported, workplace.repository())
    (workplace.repository() / MADE_BY).write_text(code_digest())
    return workplace


@pytest.fixture
def workplace(tiny: Checkpoint, repository: Path, tmp_path: Path) -> Workplace:
    """Of the tiny random checkpoint: no pictures yet."""
    return place(tiny, repository, tmp_path / "benchmark")


@pytest.fixture
def shipped_workplace(shipped_checkpoint: Path, shipped_repository: Path, tmp_path: Path) -> Workplace:
    """Of the checkpoint that ships with the project: no pictures yet."""
    return place(read_checkpoint(str(shipped_checkpoint)), shipped_repository, tmp_path / "benchmark")
