"""The server's own sampling loop around an engine's networks, in this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from batch import Batch, Generation, Listener, UNet
from checkpoint import Checkpoint as Served
from request import Request
from sampling import StepTable, step_table
from text import PromptEncoder

from benchmarks.ladder.samplers import Sampler

PROMPT = "a small red circle on the left of a blue background"


@dataclass(frozen=True)
class Networks:
    """The three networks as callables, NumPy arrays on the host in and out."""

    text_encoder: Callable[[np.ndarray], np.ndarray]  # input_ids int32 (B, 77) to context float32 (B, 77, D)
    unet: UNet
    vae_decoder: Callable[[np.ndarray], np.ndarray]  # latent float32 (B, C, h, w) to image uint8 (B, H, W, 3)

    @classmethod
    def named(cls, network: Callable[[str], Callable[..., np.ndarray]]) -> "Networks":
        """`network` gives each model of that name as a function of its inputs by name."""
        text_encoder, unet, vae_decoder = (network(name) for name in ("text_encoder", "unet", "vae_decoder"))
        return cls(
            lambda input_ids: text_encoder(input_ids=input_ids),
            lambda sample, timestep, context: unet(sample=sample, timestep=timestep, context=context),
            lambda latent: vae_decoder(latent=latent),
        )


class Loop:
    """Turns requests into latents and latents into pictures."""

    def __init__(self, repository: Path, networks: Networks) -> None:
        """`repository`: written by `python -m export`; only its facts are read."""
        folder = repository / "diffusion/1"
        self.served = Served.from_file(folder / "checkpoint.json")
        self.unet = networks.unet
        self._vae_decoder = networks.vae_decoder
        self._encoder = PromptEncoder(folder / "tokenizer.json", networks.text_encoder, warn=lambda warning: None)

    def latents(self, requests: Sequence[Request]) -> np.ndarray:
        """The final latents (N, C, h, w) float32 of `requests`, all advanced together, each for one picture."""
        nobody = cast(Listener, None)  # a batch alone reports to nobody
        shape = self.served.latent_shape(self.served.height, self.served.width)
        generations = [Generation(request, shape, self._encoder.context(request), nobody) for request in requests]
        batch = Batch(generations)
        while not generations[0].done:
            batch.advance(self.unet)
        return np.concatenate([generation.latent for generation in generations])

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) of `latent`, float32 (N, C, h, w)."""
        rows = self.served.max_batch["vae_decoder"]
        return np.concatenate([self._vae_decoder(latent[i : i + rows]) for i in range(0, len(latent), rows)])

    def picture(self, sampler: Sampler, seed: int = 0) -> np.ndarray:
        """One picture, uint8 (1, H, W, 3), of a fixed prompt."""
        return self.decode(self.latents([self._request(sampler, seed)]))

    def unet_inputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What one step of one picture asks of the UNet: sample, timestep and context of 2 rows, 1 where unguided."""
        asked = self._request(Sampler("dpmpp_2m", 1), 0)
        context = self._encoder.context(asked)
        shape = len(context), *self.served.latent_shape(asked.height, asked.width)
        sample = np.random.default_rng(0).standard_normal(shape, np.float32)
        return sample, np.repeat(asked.table.timesteps, len(context)), context

    def _request(self, sampler: Sampler, seed: int) -> Request:
        table = step_table(self.served.noise_schedule, sampler.name, sampler.steps)
        return request(self.served, PROMPT, seed, table)


def request(served: Served, prompt: str, seed: int, table: StepTable) -> Request:
    """A request for one picture with the checkpoint's defaults."""
    return Request(prompt, "", 1, served.height, served.width, served.guidance_scale, seed, 0, table)
