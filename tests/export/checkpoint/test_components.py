"""Checkpoints that are accepted, and the one line that says why another is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from export.checkpoint.components import Checkpoint, read_checkpoint
from export.errors import CheckpointError

UNET_FILE = "unet/diffusion_pytorch_model.safetensors"
INDEX = "model_index.json"
WEIGHTS = ("unet", "vae", "text_encoder")


def change(folder: Path, file: str, **settings: object) -> None:
    """Set or, with None as the value, null keys of a JSON file in the checkpoint."""
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def refusal(folder: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_read(tiny: Checkpoint) -> None:
    assert tiny.name == "tiny"
    assert tiny.vae_factor == 8
    assert tiny.native_size == (64, 64)
    assert tiny.schedule == {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "rescale_betas_zero_snr": False,
        "prediction_type": "epsilon",
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "final_sigmas_type": "zero",
    }


def test_v_prediction_with_zero_snr_and_trained_betas(broken_folder: Path) -> None:
    change(
        broken_folder,
        "scheduler/scheduler_config.json",
        _class_name="DDIMScheduler",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        num_train_timesteps=2,
        trained_betas=[0.1, 0.2],
    )
    found = read_checkpoint(str(broken_folder))
    assert found.schedule["prediction_type"] == "v_prediction"
    assert found.schedule["rescale_betas_zero_snr"] is True
    assert found.schedule["trained_betas"] == [0.1, 0.2]


def test_defaults_are_those_of_the_scheduler(broken_folder: Path) -> None:
    (broken_folder / "scheduler/scheduler_config.json").write_text('{"_class_name": "DDPMScheduler"}')
    schedule = read_checkpoint(str(broken_folder)).schedule
    assert (schedule["beta_start"], schedule["beta_end"], schedule["beta_schedule"]) == (0.0001, 0.02, "linear")


def test_a_rectangular_native_size(broken_folder: Path) -> None:
    change(broken_folder, "unet/config.json", sample_size=[8, 12])
    assert read_checkpoint(str(broken_folder)).native_size == (64, 96)


@pytest.mark.parametrize(
    ("file", "settings", "says"),
    [
        (INDEX, {"_class_name": "StableDiffusionXLPipeline"}, "StableDiffusionXLPipeline"),
        (INDEX, {"_class_name": "FluxPipeline"}, "FluxPipeline"),
        (INDEX, {"_class_name": None}, "None"),
        (INDEX, {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}, "text_encoder_2"),
        (INDEX, {"transformer": ["diffusers", "SD3Transformer2DModel"]}, "transformer"),
        (INDEX, {"unet": [None, None]}, "names no unet"),
        (INDEX, {"unet": ["diffusers", "UNet3DConditionModel"]}, "UNet3DConditionModel"),
        (INDEX, {"vae": ["diffusers", "AutoencoderTiny"]}, "AutoencoderTiny"),
        ("unet/config.json", {"in_channels": 9}, "9 input channels"),
        ("unet/config.json", {"out_channels": 8}, "8 output channels"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "addition_embed_type"),
        ("unet/config.json", {"num_class_embeds": 10}, "class labels"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "LCM"),
        ("unet/config.json", {"cross_attention_dim": 768}, "width 768 (cross_attention_dim)"),
        ("unet/config.json", {"sample_size": None}, "sample_size"),
        ("unet/config.json", {"sample_size": [64]}, "sample_size"),
        ("vae/config.json", {"latent_channels": 16}, "16 channels"),
        ("text_encoder/config.json", {"max_position_embeddings": 512}, "512 tokens"),
        ("text_encoder/config.json", {"hidden_size": "wide"}, "text_encoder cannot be loaded"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "prediction_type is 'sample'"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True},
            "rescale_betas_zero_snr",
        ),
        ("scheduler/scheduler_config.json", {"beta_schedule": "exp"}, "beta_schedule is 'exp'"),
        ("scheduler/scheduler_config.json", {"beta_start": None}, "beta_start"),
        ("scheduler/scheduler_config.json", {"_class_name": "os.system"}, "no scheduler"),
        ("scheduler/scheduler_config.json", {"_class_name": "SchedulerMixin.load_config"}, "no scheduler"),
    ],
)
def test_unsupported(broken_folder: Path, file: str, settings: dict, says: str) -> None:
    change(broken_folder, file, **settings)
    assert says in refusal(broken_folder)


def test_flow_matching(broken_folder: Path) -> None:
    path = broken_folder / "scheduler/scheduler_config.json"
    path.write_text('{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}')
    assert "not flow matching" in refusal(broken_folder)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    assert "has no model_index.json" in refusal(tmp_path)


def test_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert "from_single_file" in refusal(tmp_path / "model.safetensors")


def test_no_such_folder(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nothing")


def test_a_hub_name_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def hf_hub_download(name: str, file: str) -> str:
        raise OSError("We cannot connect\nto the hub")

    monkeypatch.setattr("export.checkpoint.layout.hf_hub_download", hf_hub_download)
    assert "could not be downloaded from the hub (OSError: We cannot connect to the hub)" in refusal("owner/name")


def test_a_hub_name_is_judged_before_its_weights_are_downloaded(
    broken_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(broken_folder, INDEX, _class_name="StableDiffusionXLPipeline")
    monkeypatch.setattr("export.checkpoint.layout.hf_hub_download", lambda name, file: str(broken_folder / file))
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda *args, **kwargs: pytest.fail("downloaded"))
    assert "StableDiffusionXLPipeline" in refusal("owner/name")


def test_a_hub_name_becomes_its_downloaded_folder(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.checkpoint.layout.hf_hub_download", lambda name, file: str(tiny_folder / file))
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda name, **kwargs: str(tiny_folder))
    found = read_checkpoint("owner/name")
    assert (found.name, found.folder) == ("name", tiny_folder)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_component(broken_folder: Path, component: str) -> None:
    shutil.rmtree(broken_folder / component)
    assert f"has no folder {component}/" in refusal(broken_folder)


@pytest.mark.parametrize("file", [INDEX, "unet/config.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize("content", ["{not json", "[]", "\udcff"])
def test_a_broken_json_file(broken_folder: Path, file: str, content: str) -> None:
    (broken_folder / file).write_text(content, encoding="utf-8", errors="surrogateescape")
    assert Path(file).name in refusal(broken_folder)


@pytest.mark.parametrize(
    ("serving", "says"),
    [
        ('{"guidance_scale": 99}', "guidance_scale is 99"),
        ('{"guidance_scale": NaN}', "guidance_scale is nan"),
        ('{"guidance": 5}', "nothing else"),
        ('{"latent_rgb": {"weight": [[1, 2, 3]], "bias": [0, 0, 0]}}', "4 rows"),
        ("5", "nothing else"),
        ("{", "no readable JSON"),
    ],
)
def test_a_wrong_serving_file(broken_folder: Path, serving: str, says: str) -> None:
    (broken_folder / "serving.json").write_text(serving)
    assert says in refusal(broken_folder)


def test_serving_file(broken_folder: Path) -> None:
    latent_rgb = {"weight": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], "bias": [0.5, 0.5, 0.5]}
    (broken_folder / "serving.json").write_text(json.dumps({"guidance_scale": 5, "latent_rgb": latent_rgb}))
    found = read_checkpoint(str(broken_folder))
    assert (found.defaults["guidance_scale"], found.latent_rgb) == (5, latent_rgb)


def weights_refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(str(folder)).load_component("unet")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"garbage" * 1000])
def test_a_corrupt_weight_file(broken_folder: Path, content: bytes) -> None:
    (broken_folder / UNET_FILE).write_bytes(content)
    assert "unet cannot be loaded" in weights_refusal(broken_folder)


def test_a_truncated_weight_file(broken_folder: Path) -> None:
    content = (broken_folder / UNET_FILE).read_bytes()
    (broken_folder / UNET_FILE).write_bytes(content[: len(content) // 2])
    assert "unet cannot be loaded" in weights_refusal(broken_folder)


def test_weights_of_another_size(broken_folder: Path) -> None:
    change(broken_folder, "unet/config.json", time_embedding_dim=128)
    assert "have another size in the weight file" in weights_refusal(broken_folder)


def test_no_weight_file(broken_folder: Path) -> None:
    (broken_folder / UNET_FILE).unlink()
    assert "holds no weight file" in weights_refusal(broken_folder)


def test_a_missing_tensor_is_not_replaced_by_noise(broken_folder: Path) -> None:
    weights = load_file(broken_folder / UNET_FILE)
    del weights["conv_in.weight"]
    save_file(weights, broken_folder / UNET_FILE)
    assert "conv_in.weight" in weights_refusal(broken_folder)


def test_nan_in_the_weights(broken_folder: Path) -> None:
    weights = load_file(broken_folder / UNET_FILE)
    weights["conv_in.weight"][0] = torch.nan
    save_file(weights, broken_folder / UNET_FILE)
    assert "conv_in.weight holds NaN" in weights_refusal(broken_folder)


def same_weights(loaded: torch.nn.Module, expected: torch.nn.Module) -> bool:
    pairs = zip(loaded.state_dict().values(), expected.state_dict().values())
    return all(a.dtype == torch.float32 and torch.equal(a, b.float()) for a, b in pairs)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_half_precision_files_are_loaded_in_single(tiny: Checkpoint, broken_folder: Path, variant: str | None) -> None:
    for component in WEIGHTS:
        for file in (broken_folder / component).glob("*.safetensors"):
            file.unlink()
    halves = [tiny.load_component(component).half() for component in WEIGHTS]
    for component, module in zip(WEIGHTS, halves):
        module.save_pretrained(broken_folder / component, variant=variant)
    found = read_checkpoint(str(broken_folder))
    loaded = [found.load_component(component) for component in WEIGHTS]
    assert all(same_weights(*pair) for pair in zip(loaded, halves))


def test_pickled_weights_are_loaded(tiny: Checkpoint, broken_folder: Path) -> None:
    for component, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "pytorch_model")):
        (file,) = (broken_folder / component).glob("*.safetensors")
        torch.save(load_file(file), broken_folder / component / f"{name}.bin")
        file.unlink()
    found = read_checkpoint(str(broken_folder))
    assert same_weights(found.load_component("unet"), tiny.load_component("unet"))
    assert same_weights(found.load_component("text_encoder"), tiny.load_component("text_encoder"))


def test_pickled_code_is_not_run(broken_folder: Path) -> None:
    (broken_folder / UNET_FILE).unlink()
    torch.save(UNet2DConditionModel, broken_folder / "unet/diffusion_pytorch_model.bin")
    assert "unet cannot be loaded" in weights_refusal(broken_folder)


def test_a_tokenizer_with_ids_the_text_encoder_does_not_know(broken_folder: Path) -> None:
    change(broken_folder, "text_encoder/config.json", vocab_size=541)
    with pytest.raises(CheckpointError, match="has token id 541 and the text encoder 541 embeddings"):
        read_checkpoint(str(broken_folder)).load_tokenizer("input_ids")


@pytest.mark.parametrize("damage", ["empty", "garbage"])
def test_a_broken_tokenizer(broken_folder: Path, damage: str) -> None:
    for file in (broken_folder / "tokenizer").iterdir():
        file.unlink()
        if damage == "garbage":
            file.write_text("{garbage")
    with pytest.raises(CheckpointError, match="tokenizer"):
        read_checkpoint(str(broken_folder)).load_tokenizer("input_ids")
