"""Stable Diffusion 1.x and 2.x, text to image: one CLIP text encoder, a UNet, a KL autoencoder."""

from collections.abc import Iterator
from typing import Any

from export.families.family import Family, LatentFormat, Settings, TextInput
from export.specification import Network, Sizes, Tensor

TITLE = "Stable Diffusion 1.x and 2.x text-to-image checkpoints in diffusers' layout"
NUM_TOKENS = 77
CHANNELS = 4

# https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204, of Stable Diffusion 1.x, whose map
# gives -1..1 and is halved and shifted here.
LATENT_RGB: dict[str, Any] = {
    "weight": [
        [0.149, 0.1035, 0.104],
        [0.0935, 0.143, 0.0865],
        [-0.079, 0.0945, 0.132],
        [-0.092, -0.1355, -0.2365],
    ],
    "bias": [0.5, 0.5, 0.5],
}

UNSUPPORTED_CONDITIONS = {
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
    "addition_embed_type": "additional embeddings, as SDXL does",
    "encoder_hid_dim_type": "projected image or text embeddings",
    "time_cond_proj_dim": "an embedded guidance scale, as distilled LCM checkpoints do",
}
"""UNet settings that must be unset, and what a UNet that sets them wants as input beside the text."""


def refusals(settings: Settings) -> Iterator[str]:
    """Reasons why the components do not make a Stable Diffusion 1.x or 2.x."""
    unet, vae, text_encoder = (settings[name] for name in ("unet", "vae", "text_encoder"))
    if vae["latent_channels"] != CHANNELS:
        yield (
            f"the autoencoder's latents have {vae['latent_channels']} channels: supported are {TITLE},"
            f" which have {CHANNELS}"
        )
    for end, kinds in (("in", "9 is inpainting, 8 image editing, 5 depth"), ("out", "8 is a learned variance")):
        if unet[f"{end}_channels"] != CHANNELS:
            yield (
                f"the UNet has {unet[f'{end}_channels']} {end}put channels ({kinds}): supported are {TITLE},"
                f" whose UNet has {CHANNELS}"
            )
    for setting, wants in UNSUPPORTED_CONDITIONS.items():
        if unet[setting] is not None:
            yield (
                f"the UNet also wants {wants} ({setting} is {unet[setting]!r}): supported are {TITLE},"
                " which want text only"
            )
    if unet["cross_attention_dim"] != text_encoder["hidden_size"]:
        yield (
            f"the UNet reads text of width {unet['cross_attention_dim']} (cross_attention_dim) and the text"
            f" encoder writes {text_encoder['hidden_size']} (hidden_size): take both from the same checkpoint"
        )
    if text_encoder["max_position_embeddings"] != NUM_TOKENS:
        yield (
            f"the text encoder reads {text_encoder['max_position_embeddings']} tokens: supported are {TITLE},"
            f" which read {NUM_TOKENS}"
        )
    size = unet["sample_size"]
    if not isinstance(size, int) and not (isinstance(size, list) and [type(side) for side in size] == [int, int]):
        yield f"sample_size in unet/config.json is {size!r}: write the latent's size there, such as 64"


def vae_factor(settings: Settings) -> int:
    """Pixels a latent cell, each way: every level of the autoencoder but the last halves the sides."""
    return 2 ** (len(settings["vae"]["block_out_channels"]) - 1)


def native_size(settings: Settings) -> tuple[int, int]:
    """(height, width) in latent cells that the UNet was trained at."""
    size = settings["unet"]["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def networks(settings: Settings, sizes: Sizes) -> tuple[Network, ...]:
    """The interfaces of the three networks, in the order a request meets them."""
    latent = (CHANNELS, *sizes.latent)
    text_encoder = Network(
        "text_encoder",
        inputs=(Tensor("input_ids", "INT32", (NUM_TOKENS,), below=settings["text_encoder"]["vocab_size"]),),
        outputs=(Tensor("context", "FP32", (NUM_TOKENS, settings["text_encoder"]["hidden_size"])),),
        max_batch=16,
        usual_batch=2,
        graph_batches=(1, 2),
        compile_batches=(2,),  # a request's prompt and negative prompt are encoded at once
    )
    denoiser = Network(
        "denoiser",
        inputs=(
            Tensor("sample", "FP32", latent),
            # It has the batch axis only: every row may be at its own step.
            Tensor("timestep", "FP32", (), below=settings["scheduler"]["num_train_timesteps"]),
            *text_encoder.outputs,
        ),
        outputs=(Tensor("model_output", "FP32", latent),),
        max_batch=32,  # so it advances at most 16 guided samples at once
        usual_batch=2,
        graph_batches=(1, 2, 3, 4, 6, 8),
        compile_batches=(1, 2, 4, 8),
    )
    vae_decoder = Network(
        "vae_decoder",
        inputs=(Tensor("latent", "FP32", latent),),
        outputs=(Tensor("image", "UINT8", (*sizes.image, 3)), Tensor("magnitude", "FP32", (1,))),
        max_batch=8,
        usual_batch=1,
        graph_batches=(1, 2, 4),
        compile_batches=(1,),  # images are decoded singly
    )
    return text_encoder, denoiser, vae_decoder


FAMILY = Family(
    name="stable_diffusion",
    title=TITLE,
    pipelines=("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
    components={
        "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
        "text_encoder": ("CLIPTextModel",),
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "scheduler": None,
    },
    foreign_components=("transformer", "text_encoder_2", "tokenizer_2"),
    prediction_types=("epsilon", "v_prediction"),
    scheduler_settings={"steps_offset": 1, "clip_sample": False},
    text_inputs={"input_ids": TextInput("tokenizer", "text_encoder", NUM_TOKENS)},
    latent=LatentFormat(CHANNELS, LATENT_RGB),
    guidance_scale=7.5,
    refusals=refusals,
    vae_factor=vae_factor,
    native_size=native_size,
    networks=networks,
)
