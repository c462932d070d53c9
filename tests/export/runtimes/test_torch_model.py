"""Models of `--runtime torch`: what is written, what the gate catches, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from export.checkpoint.components import Checkpoint, read_checkpoint
from export.errors import GateError, RequestError
from export.graph.gate import LIMITS
from export.repository import Export, write_repository
from export.runtime import Precision, Runtime
from export.runtimes.torch_model import Batches, check_precision, choose_batches
from export.sizes import choose_sizes

MODELS = ("text_encoder", "denoiser", "vae_decoder")
TORCH_DTYPES = {Precision.FP32: "torch.float32", Precision.FP16: "torch.float16", Precision.BF16: "torch.bfloat16"}
USUAL = {"text_encoder": (2,), "denoiser": (1, 2, 4, 8), "vae_decoder": (1,)}
BATCHES = {**USUAL, "denoiser": (1, 6)}


def write(checkpoint: Checkpoint, folder: Path, precision: Precision, batches: Batches | None = None) -> Path:
    sizes = choose_sizes(checkpoint, "24:80", "64")
    networks = checkpoint.networks(sizes)
    export = Export(checkpoint, sizes, networks, Runtime.TORCH, precision, batches)
    write_repository(export, folder, lambda text: None)
    return folder


def settings(repository: Path, model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / model / "1/network.json").read_text())
    return found


@pytest.mark.usefixtures("hand_written")
@pytest.mark.parametrize("precision", Precision)
def test_a_model_is_complete_in_its_precision_and_names_no_folder(
    tiny: Checkpoint, tmp_path: Path, precision: Precision
) -> None:
    repository = write(tiny, tmp_path / "models", precision)
    for model in MODELS:
        version = repository / model / "1"
        (weights,) = (version / "weights").glob("*/*.safetensors")
        code = ["arrays.py", "engine.py", "model.py", "modules.py", "network.json", "network.py"]
        assert sorted(path.name for path in version.iterdir()) == [*code, "weights"]
        assert {str(tensor.dtype) for tensor in load_file(weights).values()} == {TORCH_DTYPES[precision]}
        assert str(tiny.folder.parent) not in weights.with_name("config.json").read_text()
        given = settings(repository, model)
        assert (given["name"], given["precision"], given["compile_batches"]) == (model, precision, [])


@pytest.mark.usefixtures("hand_written")
def test_the_settings_say_what_to_compile(tiny: Checkpoint, tmp_path: Path) -> None:
    repository = write(tiny, tmp_path / "models", Precision.FP32, BATCHES)
    assert [settings(repository, model)["compile_batches"] for model in MODELS] == [[2], [1, 6], [1]]
    assert settings(repository, "vae_decoder")["inputs"] == {"latent": {"dtype": "float32", "shape": [4, 8, 8]}}


@pytest.mark.usefixtures("hand_written")
def test_a_precision_that_misses_its_limits_writes_nothing(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, Precision.BF16, LIMITS[Precision.FP32])
    with pytest.raises(GateError, match=r"text_encoder: context .* at most 0.0001"):
        write(tiny, tmp_path / "models", Precision.BF16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("hand_written")
def test_a_weight_past_the_range_of_fp16_is_caught(broken_folder: Path, tmp_path: Path) -> None:
    path = broken_folder / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights["conv_out.weight"] *= 1e8
    save_file(weights, path, {"format": "pt"})
    repository = tmp_path / "models"
    with pytest.raises(GateError, match="denoiser: model_output"):
        write(read_checkpoint(str(broken_folder)), repository, Precision.FP16)
    assert not repository.exists()
    write(read_checkpoint(str(broken_folder)), repository, Precision.BF16)


def test_the_settings_of_the_network_stay(tiny: Checkpoint, tmp_path: Path, hand_written: Path) -> None:
    repository = write(tiny, tmp_path / "models", Precision.FP32)
    settings = json.loads((repository / "denoiser/1/weights/unet/config.json").read_text())
    assert settings["cross_attention_dim"] == tiny.settings["unet"]["cross_attention_dim"]


def test_what_is_compiled(tiny: Checkpoint) -> None:
    sizes = choose_sizes(tiny, "24:80", "64")
    networks = tiny.networks(sizes)
    assert choose_batches(Runtime.PYTHON, networks, None, None) is None
    assert choose_batches(Runtime.TORCH, networks, False, None) is None
    assert choose_batches(Runtime.TORCH, networks, None, None) == USUAL
    assert choose_batches(Runtime.TORCH, networks, True, "8,1,8") == {**USUAL, "denoiser": (1, 8)}


@pytest.mark.parametrize(
    ("runtime", "wanted", "batches", "says"),
    [
        (Runtime.PYTHON, True, None, "need --runtime torch: leave them out for python"),
        (Runtime.ONNXRUNTIME, False, None, "need --runtime torch"),
        (Runtime.PYTHON, None, "1,2", "need --runtime torch"),
        (Runtime.TORCH, False, "1,2", "give one of them"),
        (Runtime.TORCH, None, "", "--batches is ''"),
        (Runtime.TORCH, None, "0,2", "1 to 32, such as 1,2,8"),
        (Runtime.TORCH, None, "33", "1 to 32"),
        (Runtime.TORCH, None, "two", "1 to 32"),
        (Runtime.TORCH, None, "1, 2", "1 to 32"),
    ],
)
def test_what_is_refused(
    tiny: Checkpoint, runtime: Runtime, wanted: bool | None, batches: str | None, says: str
) -> None:
    sizes = choose_sizes(tiny, None, None)
    with pytest.raises(RequestError, match=says):
        choose_batches(runtime, tiny.networks(sizes), wanted, batches)


def test_bf16_is_for_torch_only() -> None:
    for precision in Precision:
        check_precision(Runtime.TORCH, precision)
    with pytest.raises(RequestError, match="bf16 needs --runtime torch"):
        check_precision(Runtime.ONNXRUNTIME, Precision.BF16)
