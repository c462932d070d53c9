"""Thin torch modules with the graphs' interfaces around diffusers' and transformers' networks.

B is the batch, D the width of the text embedding, h and w the latent's sides, H and W the picture's.
"""

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

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.text_encoder(input_ids).last_hidden_state


class UNet(nn.Module):
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

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.unet(sample, timestep, encoder_hidden_states=context, return_dict=False)[0]


class VaeDecoder(nn.Module):
    """`latent` float32 (B, 4, h, w), as the sampling loop leaves it -> `image` uint8 (B, H, W, 3) RGB.

    Rounds like diffusers' `VaeImageProcessor`: to 0..1, clamp, times 255, half to even.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        self.scaling_factor = vae.config.scaling_factor
        self.shift_factor = vae.config.shift_factor or 0.0

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        picture = self.vae.decode(latent / self.scaling_factor + self.shift_factor, return_dict=False)[0]
        picture = (picture * 0.5 + 0.5).clamp(0, 1)
        # Bytes come last: TensorRT knows them as an output only.
        return (picture * 255).round().permute(0, 2, 3, 1).to(torch.uint8)
