"""The autoencoder: 128x128 pixels to 4x16x16 latents of a given meaning, and back."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from shapes.latents import LATENT_CHANNELS, latent_of
from shapes.scenes import IMAGE_SIZE, TRAINING_SCENES, draw, to_pixels

EDGE_WEIGHT = 10.0
"""Weight of a pixel near an edge, against one of the plain background, of which there are far more."""
LATENT_NOISE = 0.05
"""Standard deviation of the error that the decoder learns to look past: the UNet's latents are not perfect."""


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder in Stable Diffusion's classes, with thin layers at full resolution."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        norm_num_groups=4,  # wide groups let the level of a plain background through
        latent_channels=LATENT_CHANNELS,
        sample_size=IMAGE_SIZE,
        scaling_factor=1.0,  # `latent_of` is of unit variance already
    )


def scene_batches(batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Endless images of training scenes: float32 (B, 3, 128, 128) in -1..1."""
    rng = np.random.default_rng(seed)
    while True:
        scenes = rng.choice(len(TRAINING_SCENES), batch_size)
        yield to_pixels(np.stack([draw(TRAINING_SCENES[i], rng) for i in scenes]))


def decoder_loss(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Distance of the image decoded from the latent of `pixels`, slightly disturbed, from `pixels`."""
    latent = latent_of(pixels)
    error = vae.decode(latent + LATENT_NOISE * torch.randn_like(latent)).sample - pixels
    weight = 1 + EDGE_WEIGHT * nearness_to_edges(pixels)
    return (weight * (error.abs() + error.square())).mean() / weight.mean()


def nearness_to_edges(pixels: torch.Tensor) -> torch.Tensor:
    """Float32 (B, 1, H, W): 0 on the plain background, and larger at faint edges, whose errors are smaller."""
    detail = (pixels - F.avg_pool2d(pixels, 9, stride=1, padding=4, count_include_pad=False)).abs()
    detail = F.max_pool2d(detail.amax(1, keepdim=True), 9, stride=1, padding=4)
    contrast = detail.amax((2, 3), keepdim=True)
    return detail / contrast / contrast.clamp(min=0.25, max=1)


def encoder_loss(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of the latent of `pixels` under the encoder's posterior, an element."""
    posterior = vae.encode(pixels).latent_dist
    return 0.5 * ((latent_of(pixels) - posterior.mean).square() / posterior.var + posterior.logvar).mean()


def train_vae_half(
    vae: AutoencoderKL,
    loss_of: Callable[[AutoencoderKL, torch.Tensor], torch.Tensor],
    iterations: int,
    report: Callable[..., None],
    peak_rate: float = 2e-3,
    batch_size: int = 8,
    seed: int = 0,
) -> None:
    """Train the half of `vae` that `loss_of` runs, on scenes drawn on the fly; `report` receives the loss."""
    torch.manual_seed(seed)
    vae.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=peak_rate, betas=(0.9, 0.99), weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=iterations, pct_start=0.1)
    for iteration, pixels in zip(range(iterations), scene_batches(batch_size, seed)):
        loss = loss_of(vae, pixels.to(memory_format=torch.channels_last))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(iteration, loss=loss.item())
    vae.eval()
