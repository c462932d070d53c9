"""The active samples of one latent size, laid out so that one UNet call and one update advance them all."""

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from request import Request
from sampling import NoiseStream, advance, guide

UNet = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(sample (R, C, h, w), timestep (R,), context (R, 77, D)), all float32, to model_output (R, C, h, w) float32."""


class Listener(Protocol):
    """Who waits for a generation. Called from the scheduler's thread, so each call must return at once."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more; looked at before every step."""

    @property
    def deadline(self) -> float:
        """time.monotonic() from which on nobody waits; looked at before every step."""

    def queued(self, position: int) -> None:
        """The generation waits for room; `position` 1 is next."""

    def stepped(self, step: int, denoised: np.ndarray | None) -> None:
        """`step` steps are done; `denoised` (N, C, h, w) is the current estimate where a preview is due."""

    def finished(self, latent: np.ndarray) -> None:
        """All steps are done: `latent` (N, C, h, w) float32."""

    def failed(self, reason: Exception) -> None:
        """The generation has ended without a picture."""

    def dropped(self) -> None:
        """The generation has ended because it was cancelled."""

    def expired(self) -> None:
        """The generation has ended because its deadline has passed."""


class Generation:
    """A request on its way through the loop."""

    def __init__(self, request: Request, latent_shape: tuple[int, int, int], context: np.ndarray, listener: Listener):
        """`context`: float32 (1, 77, D), the prompt's; or (2, 77, D), where guided: the prompt's and the negative's."""
        self.request = request
        self.listener = listener
        self.context = context
        self.step = 0
        self.started = False  # whether it has been in a batch; it may have been taken out again, and wait
        self.arrived = time.monotonic()
        self.told_place: int | None = None  # in the queue, the last that the listener heard
        self.noise = [NoiseStream(int(seed)) for seed in request.seeds]
        self.latent = np.stack([stream.normal(latent_shape) for stream in self.noise])  # (N, C, h, w)
        self.old_denoised = np.zeros_like(self.latent)

    @property
    def num_samples(self) -> int:
        return len(self.latent)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.latent.shape[1:]

    @property
    def done(self) -> bool:
        return self.step == len(self.request.table)


class Batch:
    """Generations that advance together, each from its own step on.

    Rows 0..S-1 of the UNet's input are the samples themselves, those of guided generations first, and rows S..S+G-1
    repeat the guided ones for the negative prompt. Every row is computed on its own: who else is in the batch does not
    change a sample by one bit.
    """

    def __init__(self, generations: list[Generation]) -> None:
        generations = sorted(generations, key=lambda generation: not generation.request.guided)
        counts = [len(generation.latent) for generation in generations]
        ends = np.cumsum(counts).tolist()
        samples = ends[-1]
        guided = sum(count for count, generation in zip(counts, generations) if generation.request.guided)
        shape = generations[0].latent_shape

        self.generations = generations
        self._slices = [slice(end - count, end) for count, end in zip(counts, ends)]
        self._sample = np.empty((samples + guided, *shape), np.float32)
        self._latent = self._sample[:samples]
        self._old_denoised = np.empty((samples, *shape), np.float32)
        self._noise = np.empty((samples, *shape), np.float32)
        self._coefficients = np.empty((samples, 6), np.float32)
        self._timestep = np.empty(samples + guided, np.float32)
        scales = [generation.request.guidance_scale for generation in generations]
        self._guidance_scale = np.repeat(np.array(scales, np.float32), counts)[:guided]
        negatives = [generation.context[1:] for generation in generations if generation.request.guided]
        contexts = [generation.context[:1] for generation in generations] + negatives
        self._context = np.repeat(np.concatenate(contexts), counts + counts[: len(negatives)], axis=0)

        for generation, rows in zip(generations, self._slices):
            self._latent[rows] = generation.latent
            self._old_denoised[rows] = generation.old_denoised
            generation.latent = self._latent[rows]
            generation.old_denoised = self._old_denoised[rows]

    @property
    def num_samples(self) -> int:
        return len(self._latent)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self._latent.shape[1:]

    def advance(self, unet: UNet) -> None:
        """Take every generation one step on, with one call of `unet`."""
        samples, guided = len(self._latent), len(self._guidance_scale)
        noisy = self._gather()
        self._sample[samples:] = self._latent[:guided]
        self._timestep[samples:] = self._timestep[:guided]
        model_output = unet(self._sample, self._timestep, self._context)
        cond, uncond = model_output[:guided], model_output[samples:]
        guide(cond, uncond, self._guidance_scale, out=cond)
        noise = self._noise if noisy else None
        advance(self._latent, model_output[:samples], self._old_denoised, noise, self._coefficients)
        for generation in self.generations:
            generation.step += 1

    def _gather(self) -> bool:
        """Collect what this step needs of each generation's table; True where some row needs noise."""
        noisy = False
        for generation, rows in zip(self.generations, self._slices):
            table, i = generation.request.table, generation.step
            self._timestep[rows] = table.timesteps[i]
            self._coefficients[rows] = table.coefficients[i]
            if table.n[i]:
                noisy = True
                for noise, stream in zip(self._noise[rows], generation.noise):
                    noise[:] = stream.normal(noise.shape)
        return noisy
