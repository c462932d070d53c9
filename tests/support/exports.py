"""One tiny random checkpoint and one real export of it, shared by all tests of the export."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers.utils import logging as transformers_logging

import export.repository
from export.checkpoint.components import Checkpoint, read_checkpoint
from export.checkpoint.random_weights import Architecture, random_pipeline
from export.families.stable_diffusion import FAMILY
from export.repository import Export, write_repository
from export.sizes import choose_sizes
from export.specification import Network, Sizes
from tests.support.sharing import made_once

HAND_WRITTEN_MODELS = ("diffusion", "text_to_image")

transformers_logging.disable_progress_bar()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint, to be read only."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    random_pipeline(Architecture.TINY).save_pretrained(folder)
    return folder


@pytest.fixture
def broken_folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to be damaged."""
    return shutil.copytree(tiny_folder, tmp_path / "broken")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Checkpoint:
    return read_checkpoint(str(tiny_folder))


@pytest.fixture(scope="session")
def hand_written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stands in for the project's own model repository, which no test may touch."""
    folder = tmp_path_factory.mktemp("project") / "model_repository"
    for name in HAND_WRITTEN_MODELS:
        (folder / name / "1" / "__pycache__").mkdir(parents=True)
        (folder / name / "1" / "__pycache__" / "model.pyc").touch()
        (folder / name / "1" / "model.py").write_text(f"# {name}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.repository, "HAND_WRITTEN", folder)
        yield folder


@pytest.fixture(scope="session")
def sizes(tiny: Checkpoint) -> Sizes:
    """Heights vary, widths do not."""
    return choose_sizes(tiny, "24:80", "64")


@pytest.fixture(scope="session")
def repository(tiny: Checkpoint, sizes: Sizes, hand_written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, exported for real into a folder of its own; to be read only."""

    def make(folder: Path) -> None:
        write_repository(Export(tiny, sizes, tiny.networks(sizes)), folder / "models", report=lambda text: None)

    return made_once(tmp_path_factory, "tiny", make) / "models"


def networks_at(sizes: Sizes) -> dict[str, Network]:
    """The networks of Stable Diffusion 1.5 by name, for images of those sizes."""
    text_encoder = {"vocab_size": 49408, "hidden_size": 768}
    settings = {"text_encoder": text_encoder, "scheduler": {"num_train_timesteps": 1000}}
    return {network.name: network for network in FAMILY.networks(settings, sizes)}
