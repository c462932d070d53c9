"""The written repository is complete, and a failed export changes nothing."""

import json
import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import export.repository
from export import staging
from export.checkpoint.components import Checkpoint, read_checkpoint
from export.errors import GateError
from export.repository import Export, write_repository
from export.runtime import Runtime
from export.sizes import choose_sizes

NETWORK_FILES = ["1/model.onnx", "1/model.py", "1/network.py", "config.pbtxt"]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


def test_everything_is_there(repository: Path) -> None:
    assert files(repository) == sorted(
        [f"{network}/{file}" for network in ("text_encoder", "denoiser", "vae_decoder") for file in NETWORK_FILES]
        + [f"diffusion/{file}" for file in ("1/checkpoint.json", "1/model.py", "1/tokenizer.json", "config.pbtxt")]
        + [f"text_to_image/{file}" for file in ("1/model.py", "config.pbtxt")]
    )
    assert os.listdir(repository.parent) == [repository.name]


def test_checkpoint_json(repository: Path, tiny: Checkpoint) -> None:
    assert json.loads((repository / "diffusion/1/checkpoint.json").read_text()) == {
        "name": "tiny",
        "family": "stable_diffusion",
        "schedule": tiny.schedule,
        "latent_channels": 4,
        "vae_factor": 8,
        "height": 64,
        "width": 64,
        "height_range": [24, 80],
        "width_range": [64, 64],
        "latent_rgb": tiny.latent_rgb,
        "tokenizers": {"input_ids": "tokenizer.json"},
        "networks": {
            "text_encoder": {"max_batch": 16, "inputs": ["input_ids"], "outputs": ["context"]},
            "denoiser": {
                "max_batch": 32,
                "inputs": ["sample", "timestep", "context"],
                "outputs": ["model_output"],
            },
            "vae_decoder": {"max_batch": 8, "inputs": ["latent"], "outputs": ["image", "magnitude"]},
        },
        "defaults": {
            "sampler": "pndm",
            "timestep_spacing": "leading",
            "num_inference_steps": 20,
            "guidance_scale": 7.5,
        },
    }


def test_tokenizer_json(repository: Path, tiny: Checkpoint) -> None:
    standalone = Tokenizer.from_file(str(repository / "diffusion/1/tokenizer.json"))
    expected = tiny.load_tokenizer("input_ids")("A red circle", padding="max_length").input_ids
    assert standalone.encode("A red circle").ids == expected


class Stop(BaseException):
    """Stands for Ctrl-C and anything else that ends an export."""


@pytest.fixture
def fast_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks whose graph is a line of text, for tests of what surrounds them."""

    def write_graph(network: object, module: object, folder: Path, precision: object) -> Path:
        (folder / "model.onnx").write_text("graph")
        return folder / "model.onnx"

    monkeypatch.setattr(export.repository, "write_graph", write_graph)
    monkeypatch.setattr(export.repository, "check_graph", lambda *args: None)


def write(checkpoint: Checkpoint, repository: Path, runtime: Runtime = Runtime.PYTHON) -> None:
    sizes = choose_sizes(checkpoint, None, None)
    write_repository(Export(checkpoint, sizes, checkpoint.networks(sizes), runtime), repository, lambda text: None)


@pytest.mark.usefixtures("fast_networks")
def test_into_the_projects_own_repository(tiny: Checkpoint, hand_written: Path) -> None:
    before = snapshot(hand_written)
    write(tiny, hand_written)
    write(tiny, hand_written, Runtime.ONNXRUNTIME)
    after = snapshot(hand_written)
    assert after.items() > before.items()
    assert sorted(after.keys() - before.keys()) == sorted(
        ["diffusion/1/checkpoint.json", "diffusion/1/tokenizer.json"]
        + ["diffusion/config.pbtxt", "text_to_image/config.pbtxt"]
        + [
            f"{name}/{file}"
            for name in ("text_encoder", "denoiser", "vae_decoder")
            for file in ("1/model.onnx", "config.pbtxt")
        ]
    )
    assert os.listdir(hand_written.parent) == [hand_written.name]


@pytest.mark.usefixtures("fast_networks", "hand_written")
def test_what_else_lies_in_the_repository_stays(tiny: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "models" / "mine" / "1").mkdir(parents=True)
    (tmp_path / "models" / "mine" / "1" / "model.py").write_text("mine")
    (tmp_path / "models" / "denoiser").mkdir()
    (tmp_path / "models" / "denoiser" / "stale").touch()
    write(tiny, tmp_path / "models")
    assert "mine/1/model.py" in files(tmp_path / "models")
    assert "denoiser/stale" not in files(tmp_path / "models")


@pytest.mark.usefixtures("fast_networks", "hand_written")
@pytest.mark.parametrize("failure", [GateError("missed"), OSError(28, "No space left on device"), Stop()])
@pytest.mark.parametrize("step", ["check_graph", "install"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_changes_nothing(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, step: str, existing: bool
) -> None:
    if existing:
        write(tiny, tmp_path / "deep" / "models")
    before = snapshot(tmp_path)

    def fail(*args: object) -> None:
        raise failure

    monkeypatch.setattr(export.repository, step, fail)
    with pytest.raises(type(failure)):
        write(tiny, tmp_path / "deep" / "models", Runtime.ONNXRUNTIME)
    assert snapshot(tmp_path) == before
    assert os.listdir(tmp_path) == (["deep"] if existing else [])


@pytest.mark.usefixtures("fast_networks", "hand_written")
@pytest.mark.parametrize("moves", range(10))
def test_an_interrupt_between_any_two_moves_is_undone(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    write(tiny, tmp_path / "models")
    before = snapshot(tmp_path)
    done, rename = [], Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if len(done) == moves:
            done.append(path)
            raise Stop
        done.append(path)
        return rename(path, target)

    monkeypatch.setattr(staging.Path, "rename", interrupted)
    with pytest.raises(Stop):
        write(tiny, tmp_path / "models", Runtime.ONNXRUNTIME)
    assert snapshot(tmp_path) == before
    assert os.listdir(tmp_path) == ["models"]


@pytest.mark.usefixtures("hand_written")
def test_a_sabotaged_graph_writes_nothing(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real export and the real gate: an edit that breaks the graph."""

    def swap(graph) -> None:
        softmax = next(node for node in graph.nodes if node.op == "Softmax")
        softmax.op, softmax.attrs = "Sigmoid", {}

    monkeypatch.setattr("export.graph.edits.transpose_keys_once", swap)
    with pytest.raises(GateError, match="text_encoder: context"):
        write(read_checkpoint(str(tiny_folder)), tmp_path / "models")
    assert os.listdir(tmp_path) == []
