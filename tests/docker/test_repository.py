"""Damaged repositories: every file of an export, cut short, overwritten or emptied, is told by its name."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.support.launched import last_words

WAYS = {
    "cut": lambda content: content[: len(content) // 2],
    "overwritten": lambda content: b"\0\xff { ] garbage" * 20,
    "emptied": lambda content: b"",
}
WRITTEN = (".json", ".onnx", ".pbtxt")


def damaged(repository: Path, folder: Path, file: Path, way: str) -> Path:
    """A copy of `repository` in which `file` is damaged."""
    copy = shutil.copytree(repository, folder / f"{str(file).replace('/', '-')}-{way}")
    (copy / file).write_bytes(WAYS[way]((copy / file).read_bytes()))
    return copy


def written(repository: Path, *suffixes: str) -> list[Path]:
    return [file.relative_to(repository) for file in repository.rglob("*") if file.suffix in suffixes]


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_checkpoint_description_is_told_by_its_name(start, shipped_repository, tmp_path, way):
    for file in written(shipped_repository, ".json"):
        said = last_words(start(damaged(shipped_repository, tmp_path, file, way), stderr=PIPE))
        assert str(file) in said
        assert "python -m export" in said


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_damaged_file_is_told_by_its_name_within_30_seconds(start, shipped_repository, tmp_path, way):
    files = written(shipped_repository, *WRITTEN)
    assert len(files) > 8
    with ThreadPoolExecutor(2) as pool:
        for file, said in zip(
            files,
            pool.map(
                lambda file: last_words(start(damaged(shipped_repository, tmp_path, file, way), stderr=PIPE)), files
            ),
        ):
            assert str(file) in said or (file.name == "config.pbtxt" and file.parent.name in said), said
