"""The UNet: learns to denoise the latents of captioned scenes, by v-prediction."""

import copy
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from shapes.captions import any_caption
from shapes.latents import LATENT_CHANNELS, latent_of
from shapes.scenes import TRAINING_SCENES, Scene, draw, to_pixels
from shapes.text_encoder import CONTEXT_DIM, tokenize

DROPPED_CAPTIONS = 0.1
"""Share of captions replaced by the empty one, so that classifier-free guidance has its unconditional half."""
EMA_DECAY = 0.999
NUM_SCENES = 16384


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet in Stable Diffusion's classes: 5.6 million parameters, attention below the top level."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        cross_attention_dim=CONTEXT_DIM,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """DDPM's linear betas: their last signal-to-noise ratio is small enough that the background does not leak
    through it, where Stable Diffusion's schedule would show the UNet the mean of a flat image even at the last step.
    """
    return DDIMScheduler(
        beta_schedule="linear",
        beta_start=0.0001,
        beta_end=0.02,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="trailing",
    )


@torch.no_grad()
def encoded_scenes(count: int, seed: int) -> tuple[torch.Tensor, list[Scene]]:
    """`count` training scenes and their latents, float32 (count, 4, 16, 16)."""
    rng = np.random.default_rng(seed)
    scenes = [TRAINING_SCENES[i] for i in rng.integers(len(TRAINING_SCENES), size=count)]
    latents = []
    for start in range(0, count, 32):
        images = np.stack([draw(scene, rng) for scene in scenes[start : start + 32]])
        latents.append(latent_of(to_pixels(images)))
    return torch.cat(latents), scenes


def spread_timesteps(batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """One draw from each of `batch_size` slices of 0..999: int64 (B,), in random order.

    More of them are low than high: colour and place, decided in high noise, are learned soon, but outlines are not.
    """
    places = (torch.arange(batch_size) + torch.rand(batch_size, generator=generator)) / batch_size  # 0..1
    return (1000 * places**1.5).long()[torch.randperm(batch_size, generator=generator)]


def train_unet(
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    iterations: int,
    report: Callable[..., None],
    resume: UNet2DConditionModel | None = None,
    peak_rate: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
) -> UNet2DConditionModel:
    """Train from nothing, or on from `resume`, on latents computed once; returns the averaged weights."""
    torch.manual_seed(seed)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    latents, scenes = encoded_scenes(NUM_SCENES, seed)
    scheduler = new_scheduler()
    unet = (resume or new_unet()).to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(unet).eval()
    optimizer = torch.optim.AdamW(unet.parameters(), lr=peak_rate, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=iterations, pct_start=0.05)
    for iteration in range(iterations):
        chosen = rng.integers(NUM_SCENES, size=batch_size)
        captions = ["" if rng.random() < DROPPED_CAPTIONS else any_caption(scenes[i], rng)[0] for i in chosen]
        with torch.no_grad():
            context = text_encoder(tokenize(tokenizer, captions)).last_hidden_state
        clean = latents[chosen]
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = spread_timesteps(batch_size, generator)
        noisy = scheduler.add_noise(clean, noise, timesteps).to(memory_format=torch.channels_last)
        output = unet(noisy, timesteps, context, return_dict=False)[0]
        loss = F.mse_loss(output, scheduler.get_velocity(clean, noise, timesteps))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        decay = min(EMA_DECAY, (1 + iteration) / (10 + iteration))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(unet.parameters()), 1 - decay)
        report(iteration, loss=loss.item())
    return average
