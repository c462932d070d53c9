"""Reads a Stable Diffusion 1.x/2.x checkpoint: what it is first, then its weights, one component at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from export.checkpoint.layout import SUPPORTED, check_components, checkpoint_name, find_folder, read_json
from export.checkpoint.schedule import read_schedule, with_defaults
from export.checkpoint.serving import read_serving
from export.errors import CheckpointError, quote
from export.specification import LATENT_CHANNELS, NUM_TOKENS

UNSUPPORTED_CONDITIONS = {
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
    "addition_embed_type": "additional embeddings, as SDXL does",
    "encoder_hid_dim_type": "projected image or text embeddings",
    "time_cond_proj_dim": "an embedded guidance scale, as distilled LCM checkpoints do",
}
"""UNet settings that must be unset, and what a UNet that sets them wants as input beside the text."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been found good as far as its settings tell; the weights are loaded on request."""

    folder: Path
    name: str
    unet: dict[str, Any]  # the settings of each component, the classes' defaults filled in
    vae: dict[str, Any]
    text_encoder: CLIPTextConfig
    schedule: dict[str, Any]
    prediction_type: str
    guidance_scale: float
    latent_rgb: dict[str, Any]

    @property
    def vae_factor(self) -> int:
        """Pixels a latent cell, each way."""
        return 2 ** (len(self.vae["block_out_channels"]) - 1)

    @property
    def native_size(self) -> tuple[int, int]:
        """(height, width) in pixels that the UNet was trained at."""
        size = self.unet["sample_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return height * self.vae_factor, width * self.vae_factor

    def load_tokenizer(self) -> CLIPTokenizer:
        """The tokenizer, whose ids all have an embedding."""
        folder = self.folder / "tokenizer"
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers and tokenizers raise errors of many unrelated classes
            raise _unreadable(folder, error) from error
        vocabulary = tokenizer.get_vocab()
        if len(vocabulary) < 256 or tokenizer.pad_token_id is None:
            raise CheckpointError(f"{folder} holds no CLIP vocabulary and pad token: get the folder again")
        if max(vocabulary.values()) >= self.text_encoder.vocab_size:
            raise CheckpointError(
                f"{folder} has token id {max(vocabulary.values())} and the text encoder {self.text_encoder.vocab_size}"
                " embeddings: the tokenizer and the text encoder must come from the same checkpoint"
            )
        return tokenizer

    def load_text_encoder(self) -> CLIPTextModel:
        """The text encoder in FP32, whatever the file's precision."""
        return self._load("text_encoder", CLIPTextModel, dtype=torch.float32)

    def load_unet(self) -> UNet2DConditionModel:
        """The UNet in FP32, whatever the file's precision."""
        return self._load("unet", UNet2DConditionModel, torch_dtype=torch.float32, low_cpu_mem_usage=False)

    def load_vae(self) -> AutoencoderKL:
        """The autoencoder in FP32, whatever the file's precision."""
        return self._load("vae", AutoencoderKL, torch_dtype=torch.float32, low_cpu_mem_usage=False)

    def _load(self, component: str, model_class: Any, **options: Any) -> Any:
        folder = self.folder / component
        # Some checkpoints hold half-precision files only, under names with a variant.
        if not _has_weights(folder) and any(folder.glob("*.fp16.*")):
            options["variant"] = "fp16"
        elif not _has_weights(folder):
            raise CheckpointError(f"{folder} holds no weight file (.safetensors or .bin): get the complete checkpoint")
        try:
            module, report = model_class.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
        except Exception as error:  # a damaged file surfaces as any of a dozen unrelated classes
            raise _unreadable(folder, error) from error
        # Left alone, both libraries fill such tensors with random numbers.
        for fault, names in (
            ("are missing from", sorted(report["missing_keys"])),
            ("have another size in", sorted(name for name, *_ in report["mismatched_keys"])),
        ):
            if names:
                raise CheckpointError(
                    f"{folder}: {len(names)} tensors that config.json asks for {fault} the weight file, {names[0]}"
                    " first: get both files from the same checkpoint"
                )
        for name, weight in module.named_parameters():
            if not torch.isfinite(weight).all():
                raise CheckpointError(f"{folder}: {name} holds NaN or infinity: get the weight file again")
        return module.eval().requires_grad_(False)


def read_checkpoint(checkpoint: str) -> Checkpoint:
    """Read and check the settings of `checkpoint`, a folder in diffusers' layout or a hub name."""
    folder = find_folder(checkpoint)
    check_components(folder)
    unet = with_defaults(UNet2DConditionModel, read_json(folder / "unet" / "config.json"))
    vae = with_defaults(AutoencoderKL, read_json(folder / "vae" / "config.json"))
    read_json(folder / "text_encoder" / "config.json")
    try:
        text_encoder = CLIPTextConfig.from_pretrained(folder / "text_encoder", local_files_only=True)
    except Exception as error:  # transformers checks the settings with classes of its own
        raise _unreadable(folder / "text_encoder", error) from error
    schedule, prediction_type = read_schedule(folder)
    _check_channels(folder, unet, vae)
    _check_conditions(folder, unet, text_encoder)
    name = checkpoint_name(checkpoint, folder)
    return Checkpoint(folder, name, unet, vae, text_encoder, schedule, prediction_type, **read_serving(folder))


def _check_channels(folder: Path, unet: dict[str, Any], vae: dict[str, Any]) -> None:
    if vae["latent_channels"] != LATENT_CHANNELS:
        raise CheckpointError(
            f"{folder}: the autoencoder's latents have {vae['latent_channels']} channels: {SUPPORTED},"
            f" which have {LATENT_CHANNELS}"
        )
    for end, kinds in (("in", "9 is inpainting, 8 image editing, 5 depth"), ("out", "8 is a learned variance")):
        if unet[f"{end}_channels"] != LATENT_CHANNELS:
            raise CheckpointError(
                f"{folder}: the UNet has {unet[f'{end}_channels']} {end}put channels ({kinds}): {SUPPORTED},"
                f" whose UNet has {LATENT_CHANNELS}"
            )


def _check_conditions(folder: Path, unet: dict[str, Any], text_encoder: CLIPTextConfig) -> None:
    for setting, wants in UNSUPPORTED_CONDITIONS.items():
        if unet[setting] is not None:
            raise CheckpointError(
                f"{folder}: the UNet also wants {wants} ({setting} is {unet[setting]!r}): {SUPPORTED},"
                " which want text only"
            )
    if unet["cross_attention_dim"] != text_encoder.hidden_size:
        raise CheckpointError(
            f"{folder}: the UNet reads text of width {unet['cross_attention_dim']} (cross_attention_dim) and the text"
            f" encoder writes {text_encoder.hidden_size} (hidden_size): take both from the same checkpoint"
        )
    if text_encoder.max_position_embeddings != NUM_TOKENS:
        raise CheckpointError(
            f"{folder}: the text encoder reads {text_encoder.max_position_embeddings} tokens: {SUPPORTED},"
            f" which read {NUM_TOKENS}"
        )
    size = unet["sample_size"]
    if not isinstance(size, int) and not (isinstance(size, list) and [type(side) for side in size] == [int, int]):
        raise CheckpointError(
            f"{folder}: sample_size in unet/config.json is {size!r}: write the latent's size there, such as 64"
        )


def _has_weights(folder: Path) -> bool:
    files = [*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.index.json")]
    return any(".fp16" not in file.name for file in files)


def _unreadable(folder: Path, error: BaseException) -> CheckpointError:
    return CheckpointError(f"{folder} cannot be loaded ({quote(error)}): get the folder's files again")
