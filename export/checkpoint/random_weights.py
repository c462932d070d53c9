"""Checkpoints with random weights in diffusers' Stable Diffusion layout: for tests and for timing.

python -m export.checkpoint.random_weights DIR --architecture sd15|tiny

`sd15` is Stable Diffusion 1.5's architecture at full size (UNet 859.5M parameters, CLIP ViT-L text encoder, KL
autoencoder, 512x512 pixels); its images are noise, its speed and memory are real. `tiny` has the same parts, thin
and shallow (64x64 pixels). The tokenizer has CLIP's format and 574 tokens: every byte, inside and at the end of a
word, a few merges, and the two special tokens; its ids lie within both text encoders' vocabularies.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from export.families.stable_diffusion import NUM_TOKENS

MERGED_WORDS = ("red", "green", "blue", "circle", "square", "picture", "of", "the")


class Architecture(StrEnum):
    """The size of the random checkpoint's networks."""

    SD15 = "sd15"
    TINY = "tiny"


TEXT_ENCODERS = {
    Architecture.SD15: {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
    },
    Architecture.TINY: {
        "vocab_size": 600,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 32,
    },
}
UNETS: dict[Architecture, dict] = {
    Architecture.SD15: {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    Architecture.TINY: {
        "sample_size": 8,
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "block_out_channels": (16, 32, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    },
}
VAES: dict[Architecture, dict] = {
    Architecture.SD15: {"sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    Architecture.TINY: {
        "sample_size": 64,
        "block_out_channels": (8, 8, 16, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
    },
}


def clip_format_tokenizer() -> CLIPTokenizer:
    """A byte-pair tokenizer in CLIP's format that can spell any text and knows `MERGED_WORDS`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in MERGED_WORDS:
        piece = word[0]
        for letter in (*word[1:-1], word[-1] + "</w>"):
            if (piece, letter) not in merges:
                merges.append((piece, letter))
            piece += letter
    pieces = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: token for token, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=NUM_TOKENS)


def random_pipeline(architecture: Architecture, seed: int = 0) -> StableDiffusionPipeline:
    """The parts with their initial random weights, FP32, as one diffusers pipeline."""
    torch.manual_seed(seed)
    tokenizer = clip_format_tokenizer()
    text_config = CLIPTextConfig(
        max_position_embeddings=NUM_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **TEXT_ENCODERS[architecture],
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **VAES[architecture],
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    text_encoder = CLIPTextModel(text_config)
    unet = UNet2DConditionModel(**UNETS[architecture])
    for module in (vae, text_encoder, unet):
        _shake(module)
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@torch.no_grad()
def _shake(module: torch.nn.Module) -> None:
    """Move norms and biases off their initial ones and zeros, so that none can stand in for another."""
    for parameter in module.parameters():
        if parameter.ndim == 1:
            parameter += 0.05 * torch.randn_like(parameter)


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    architecture: Annotated[Architecture, typer.Option(help="The size of the networks.")] = Architecture.TINY,
) -> None:
    """Write a checkpoint with random weights, in the layout of diffusers, to DIR."""
    random_pipeline(architecture).save_pretrained(folder)


if __name__ == "__main__":
    typer.run(main)
