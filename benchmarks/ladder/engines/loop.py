"""The server's own sampling loop around an engine's networks, in this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from batch import Batch, Generation
from checkpoint import Checkpoint as Served
from conditioning import PromptEncoder
from networks import Network
from request import Request
from sampling import StepTable, step_table

from benchmarks.ladder.samplers import Sampler

PROMPT = "a small red circle on the left of a blue background"


class Loop:
    """Requests to latents, and latents to images."""

    def __init__(self, repository: Path, networks: Mapping[str, Network]) -> None:
        """`repository`: written by `python -m export`; only its facts are read, and `networks` has those it lists."""
        folder = repository / "diffusion/1"
        self.served = Served.from_file(folder / "checkpoint.json")
        self.networks = dict(networks)
        tokenizers = {name: folder / file for name, file in self.served.tokenizers.items()}
        self._encoder = PromptEncoder(tokenizers, networks["text_encoder"], warn=lambda warning: None)

    def latents(self, requests: Sequence[Request]) -> np.ndarray:
        """The final latents (N, C, h, w) float32 of `requests`, all advanced together, each for one image."""
        shape = self.served.latent_format.shape(self.served.height, self.served.width)
        generations = [Generation(request, shape, self._encoder.conditioning(request)) for request in requests]
        batch = Batch(generations)
        while not generations[0].done:
            batch.advance(self.networks["denoiser"])
        batch.store()
        return np.concatenate([generation.latent for generation in generations])

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) of `latent`, float32 (N, C, h, w)."""
        rows = self.served.max_batch("vae_decoder")
        parts = [latent[i : i + rows] for i in range(0, len(latent), rows)]
        return np.concatenate([self.networks["vae_decoder"](latent=part)["image"] for part in parts])

    def image(self, sampler: Sampler, seed: int = 0) -> np.ndarray:
        """One image, uint8 (1, H, W, 3), of a fixed prompt."""
        return self.decode(self.latents([self._request(sampler, seed)]))

    def denoiser_inputs(self) -> dict[str, np.ndarray]:
        """The inputs of the denoiser, by name, at one step of one image: of 2 rows, 1 where unguided."""
        asked = self._request(Sampler("dpmpp_2m", 1), 0)
        conditioning = self._encoder.conditioning(asked)
        rows = 2 if asked.guided else 1
        shape = rows, *self.served.latent_format.shape(asked.height, asked.width)
        sample = np.random.default_rng(0).standard_normal(shape, np.float32)
        return {"sample": sample, "timestep": np.repeat(asked.table.timesteps, rows), **conditioning}

    def _request(self, sampler: Sampler, seed: int) -> Request:
        table = step_table(self.served.noise_schedule, sampler.name, sampler.steps)
        return request(self.served, PROMPT, seed, table)


def request(served: Served, prompt: str, seed: int, table: StepTable) -> Request:
    """A request for one image with the checkpoint's defaults."""
    return Request(prompt, "", 1, served.height, served.width, served.defaults["guidance_scale"], seed, 0, table)
