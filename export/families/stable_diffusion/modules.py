"""Torch modules with the graphs' interfaces around diffusers' and transformers' networks.

B is the batch, D the width of the text embedding, h and w the latent's sides, H and W the image's. Inputs and outputs
have these types whatever the precision of the weights; outputs are named. The torch runtime runs a copy of this file
in the server.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

MANY_UPSAMPLERS = 30


class TextEncoder(nn.Module):
    """`input_ids` int32 (B, 77) -> `context` float32 (B, 77, D): the last hidden state, normalised."""

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"context": self.text_encoder(input_ids).last_hidden_state.float()}


class Denoiser(nn.Module):
    """One call of the UNet; every row of the batch may be at its own timestep.

    `sample` float32 (B, 4, h, w), `timestep` float32 (B,) in training steps, `context` float32 (B, 77, D)
    -> `model_output` float32 (B, 4, h, w): epsilon or v, as the checkpoint was trained.
    """

    def __init__(self, unet: UNet2DConditionModel, dynamic_size: bool = False) -> None:
        super().__init__()
        self.unet = unet
        if dynamic_size:
            # diffusers asks whether the sides divide by 2**num_upsamplers, and where they do not it upsamples to the
            # size of the skip connection. That way is right for every size, so one graph can take it for all.
            unet.num_upsamplers = MANY_UPSAMPLERS

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> dict[str, torch.Tensor]:
        dtype = self.unet.dtype
        # The timestep stays FP32: BF16 has no 999.
        output = self.unet(sample.to(dtype), timestep, context.to(dtype), return_dict=False)[0]
        return {"model_output": output.float()}


class VaeDecoder(nn.Module):
    """`latent` float32 (B, 4, h, w), as the sampling loop leaves it -> `image` uint8 (B, H, W, 3) RGB, and `magnitude`
    float32 (B, 1), the mean absolute value before rounding. Bytes have no NaN, so it shows in `magnitude` only.

    Rounds like diffusers' `VaeImageProcessor`: to 0..1, clamp, times 255, half to even.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        # StableDiffusionPipeline takes no shift_factor off a latent, whatever the autoencoder's settings say.
        self.scaling_factor = vae.config.scaling_factor

    def forward(self, latent: torch.Tensor) -> dict[str, torch.Tensor]:
        latent = (latent / self.scaling_factor).to(self.vae.dtype)
        image = self.vae.decode(latent, return_dict=False)[0].float()
        magnitude = image.abs().mean((1, 2, 3)).unsqueeze(1)
        image = (image * 0.5 + 0.5).clamp(0, 1)
        # Bytes come last: TensorRT knows them as an output only.
        return {"image": (image * 255).round().permute(0, 2, 3, 1).to(torch.uint8), "magnitude": magnitude}


COMPONENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "text_encoder": (CLIPTextModel, {}),
    "unet": (UNet2DConditionModel, {"low_cpu_mem_usage": False}),
    "vae": (AutoencoderKL, {"low_cpu_mem_usage": False}),
}
"""The class of each component, and the options with which it is loaded."""
NETWORKS = {"text_encoder": ("text_encoder",), "denoiser": ("unet",), "vae_decoder": ("vae",)}
"""The components of each network."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def make_module(name: str, components: Mapping[str, nn.Module], dynamic_size: bool = False) -> nn.Module:
    """The module of the network `name` around its components; `dynamic_size`: the graph's latents vary in size."""
    match name:
        case "text_encoder":
            return TextEncoder(**components)
        case "denoiser":
            return Denoiser(**components, dynamic_size=dynamic_size)
        case "vae_decoder":
            return VaeDecoder(**components)
        case _:
            raise ValueError(f"{name!r} is no network of this family: use {', '.join(NETWORKS)}")


def load_module(name: str, folder: Path, precision: str) -> nn.Module:
    """The module of the network `name` around the components that `save_pretrained` wrote to `folder`/COMPONENT."""
    components = {}
    for component in NETWORKS[name]:
        model_class, options = COMPONENTS[component]
        components[component] = model_class.from_pretrained(
            folder / component, local_files_only=True, dtype=DTYPES[precision], **options
        )
    return make_module(name, components)
