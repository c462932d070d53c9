"""The active samples that can share a denoiser call, laid out so that one call and one update advance them all."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from networks import Conditioning, Network
from request import Request
from sampling import COLUMNS, NoiseStream, StepTable, advance, denoise, guide, remember

Group: TypeAlias = tuple[str, tuple[int, ...], tuple[tuple[str, tuple[int, ...]], ...]]
"""Network, latent shape, and the shape of each conditioning by name: what must be equal in one call."""


class Generation:
    """The sampling state of a request: its samples between two steps."""

    def __init__(self, request: Request, latent_shape: tuple[int, int, int], conditioning: Conditioning) -> None:
        self.request = request
        self.conditioning = conditioning
        self.row = 0  # of its table, the next one
        self.noise = [NoiseStream(int(seed)) for seed in request.seeds]
        start = np.stack([stream.normal(latent_shape) for stream in self.noise])
        self.last_noise = start  # (N, C, h, w), what a step whose noise is correlated with the last one's needs
        self.latent = start * np.float32(request.table.start_noise)  # (N, C, h, w) float32
        self.memory = [np.zeros_like(start) for _ in range(request.table.memory)]  # the newest first

    @property
    def num_samples(self) -> int:
        return len(self.latent)

    @property
    def group(self) -> Group:
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(self.conditioning.items()))
        return "denoiser", self.latent.shape[1:], shapes

    @property
    def step(self) -> int:
        """Steps of the sampler that are done."""
        return self.request.table.steps_done[self.row]

    @property
    def between_steps(self) -> bool:
        """False after a denoiser call within a step of a sampler that makes several."""
        return self.row == 0 or bool(self.request.table.ends_step[self.row - 1])

    @property
    def done(self) -> bool:
        return self.row == len(self.request.table)


class Batch:
    """Generations that advance together, each from its own step on.

    Rows 0..S-1 of the denoiser's input are the samples themselves, those of guided generations first, and rows S..S+G-1
    repeat the guided ones for the negative prompt. Every row is computed on its own: who else is in the batch does not
    change a sample by one bit.
    """

    def __init__(self, generations: Sequence[Generation]) -> None:
        """A copy of the state of `generations`, all of one group; `store` writes it back."""
        generations = sorted(generations, key=lambda generation: not generation.request.guided)
        counts = [generation.num_samples for generation in generations]
        ends = np.cumsum(counts).tolist()
        samples = ends[-1]
        guided = sum(count for count, generation in zip(counts, generations) if generation.request.guided)
        shape = generations[0].latent.shape[1:]

        self.generations = generations
        self.group = generations[0].group
        self._slices = [slice(end - count, end) for count, end in zip(counts, ends)]
        self._sample = np.empty((samples + guided, *shape), np.float32)
        self._latent = self._sample[:samples]
        self._timestep = np.empty(samples + guided, np.float32)
        self._coefficients = np.empty((samples, len(COLUMNS)), np.float32)
        self._weights = dict(zip(COLUMNS, self._coefficients.T[..., None, None, None]))
        self._memory = [np.zeros_like(self._latent) for _ in range(max(g.request.table.memory for g in generations))]
        self._noise = np.zeros_like(self._latent)
        self._scratch = np.empty_like(self._latent)
        self._denoised = self._spare = np.empty_like(self._latent)
        self._remembers_denoised = all(_remembers_denoised(generation.request.table) for generation in generations)
        self._remembered = self._spare if self._remembers_denoised else np.empty_like(self._latent)

        scales = [generation.request.guidance_scale for generation in generations]
        rescales = [generation.request.guidance_rescale for generation in generations]
        self._guidance_scale = np.repeat(np.array(scales, np.float32), counts)[:guided]
        self._guidance_rescale = np.repeat(np.array(rescales, np.float32), counts)[:guided]
        self._conditioning = _rows(generations, counts)

        for generation, rows in zip(generations, self._slices):
            self._latent[rows] = generation.latent
            self._noise[rows] = generation.last_noise
            for slot, remembered in zip(self._memory, generation.memory):
                slot[rows] = remembered

    @property
    def num_samples(self) -> int:
        return len(self._latent)

    def store(self) -> None:
        """Write the state of the samples back into their generations."""
        for generation, rows in zip(self.generations, self._slices):
            generation.latent = self._latent[rows].copy()
            generation.last_noise = self._noise[rows].copy()
            generation.memory = [slot[rows].copy() for slot in self._memory[: generation.request.table.memory]]

    def denoised(self, generation: Generation) -> np.ndarray:
        """The estimate of `generation`'s latent at its last step, float32 (N, C, h, w)."""
        return self._denoised[self._slices[self.generations.index(generation)]].copy()

    def advance(self, denoiser: Network) -> None:
        """Take every generation one row of its table on, with one call of `denoiser`."""
        samples, guided = len(self._latent), len(self._guidance_scale)
        noisy, kept = self._gather()
        self._sample[samples:] = self._latent[:guided]
        self._timestep[samples:] = self._timestep[:guided]
        outputs = denoiser(sample=self._sample, timestep=self._timestep, **self._conditioning)
        model_output = outputs["model_output"]
        cond, uncond = model_output[:guided], model_output[samples:]
        guide(cond, uncond, self._guidance_scale, self._guidance_rescale, out=cond)

        w, latent, scratch = self._weights, self._latent, self._scratch
        denoised = self._spare
        denoise(latent, model_output[:samples], w["x_weight"], w["output_weight"], out=denoised, scratch=scratch)
        remembered = self._to_remember(denoised) if self._memory else None
        noise = self._noise if noisy else None
        advance(latent, denoised, self._memory, noise, w["a"], w["b"], [w["c1"], w["c2"], w["c3"]], w["n"], scratch)
        self._denoised = denoised
        if remembered is not None:
            self._keep(remembered, kept)
        for generation in self.generations:
            generation.row += 1

    def _gather(self) -> tuple[bool, list[slice]]:
        """Collect what this step needs of each generation's table.

        True where some row needs noise, and the rows whose memory this step leaves as it is.
        """
        noisy, kept = False, []
        for generation, rows in zip(self.generations, self._slices):
            table, i = generation.request.table, generation.row
            self._timestep[rows] = table.timesteps[i]
            self._coefficients[rows] = table.coefficients[i]
            if table.n[i]:
                noisy = True
                self._draw(generation, self._noise[rows], float(table.noise_correlation[i]))
            if table.keeps[i]:
                kept.append(rows)
        return noisy, kept

    def _draw(self, generation: Generation, noise: np.ndarray, correlation: float) -> None:
        """Replace `noise`, the last that `generation` drew, by what its streams give next."""
        for last, stream in zip(noise, generation.noise):
            fresh = stream.normal(last.shape)
            if correlation:  # with the last one, as the increments of one Brownian path that share a stretch
                last *= np.float32(correlation)
                fresh *= np.float32(math.sqrt(1 - correlation**2))
                last += fresh
            else:
                last[:] = fresh

    def _to_remember(self, denoised: np.ndarray) -> np.ndarray | None:
        """The newest value of the memory: `denoised` itself where all rows remember that, None where none remembers."""
        if self._remembers_denoised:
            return denoised
        p, q = self._weights["p"], self._weights["q"]
        if not (p.any() or q.any()):
            return None
        remember(self._latent, denoised, p, q, out=self._remembered, scratch=self._scratch)
        return self._remembered

    def _keep(self, remembered: np.ndarray, kept: Sequence[slice]) -> None:
        """Make `remembered` the newest value and forget the oldest, but in the rows that are `kept` as they are."""
        self._memory.insert(0, remembered)
        oldest = self._memory.pop()
        for rows in kept:
            for slot, before in zip(self._memory, [*self._memory[1:], oldest]):
                slot[rows] = before[rows]
        if remembered is self._denoised:
            self._spare = oldest
        else:
            self._remembered = oldest


def _remembers_denoised(table: StepTable) -> bool:
    """True where the memory of `table` is of nothing but denoised, step after step."""
    return not (table.p.any() or table.keeps.any()) and bool(np.isin(table.q, (0, 1)).all())


def _rows(generations: Sequence[Generation], counts: Sequence[int]) -> dict[str, np.ndarray]:
    """The conditioning of every row of a call: the prompts', then the negative prompts'."""
    guided = [generation for generation in generations if generation.request.guided]
    repeats = [*counts, *counts[: len(guided)]]
    return {
        name: np.repeat(
            np.concatenate(
                [generation.conditioning[name][:1] for generation in generations]
                + [generation.conditioning[name][1:] for generation in guided]
            ),
            repeats,
            axis=0,
        )
        for name in generations[0].conditioning
    }
