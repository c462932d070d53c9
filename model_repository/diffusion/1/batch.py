"""The active samples that can share a denoiser call, laid out so that one call and one update advance them all.

Latents, memory and conditioning are where the denoiser is. The host keeps the tables and draws the noise, and sends
what a step needs of them.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from networks import Conditioning, Network
from networks.arrays import HOST, Array, Arrays, Mark
from request import Request
from sampling import COLUMNS, NoiseStream, StepTable, advance, denoise, guide, remember

Group: TypeAlias = tuple[str, tuple[int, ...], tuple[tuple[str, tuple[int, ...]], ...]]
"""Network, latent shape, and the shape of each conditioning by name: what must be equal in one call."""


class Generation:
    """The sampling state of a request: its samples between two steps."""

    def __init__(
        self,
        request: Request,
        latent_shape: tuple[int, int, int],
        conditioning: Conditioning,
        arrays: Arrays = HOST,
    ) -> None:
        """`arrays`: those of `conditioning`, and of the denoiser."""
        self.request = request
        self.conditioning = conditioning
        self.arrays = arrays
        self.row = 0  # of its table, the next one
        self.noise = [NoiseStream(int(seed)) for seed in request.seeds]
        start = np.stack([stream.normal(latent_shape) for stream in self.noise])
        # (N, C, h, w) on the host, what a step whose noise is correlated with the last one's needs
        self.last_noise = start
        self.latent = arrays.put(start * np.float32(request.table.start_noise))  # (N, C, h, w) float32
        # The newest first.
        self.memory = [arrays.xp.zeros_like(self.latent) for _ in range(request.table.memory)]

    @property
    def num_samples(self) -> int:
        return len(self.last_noise)

    @property
    def group(self) -> Group:
        shapes = tuple((name, tuple(array.shape[1:])) for name, array in sorted(self.conditioning.items()))
        return "denoiser", tuple(self.latent.shape[1:]), shapes

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
        guided = [generation for generation in generations if generation.request.guided]

        self.generations = generations
        self.group = generations[0].group
        self._arrays = generations[0].arrays
        self._slices = [slice(end - count, end) for count, end in zip(counts, ends)]
        self._guided = sum(counts[: len(guided)])
        self._concat = self._arrays.xp.concat
        self._sample = self._concat([generation.latent for generation in (*generations, *guided)])
        self._latent = self._sample[:samples, ...]
        self._denoised = self._latent
        self._memory = self._remembered()
        self._remembers_denoised = all(_remembers_denoised(generation.request.table) for generation in generations)
        self._conditioning = self._rows(guided)
        self._timestep = np.empty(samples + self._guided, np.float32)
        self._coefficients = np.empty((len(COLUMNS), samples, 1, 1, 1), np.float32)
        self._noise = np.concatenate([generation.last_noise for generation in generations])

        scales = np.array([generation.request.guidance_scale for generation in guided], np.float32)
        scales = np.repeat(scales, counts[: len(guided)])[:, None, None, None]
        self._guidance_scale = self._arrays.put(scales)
        rescales = np.array([generation.request.guidance_rescale for generation in guided], np.float32)
        rescales = np.repeat(rescales, counts[: len(guided)])
        self._guidance_rescale = {row: strength for row, strength in enumerate(rescales.tolist()) if strength}

    @property
    def num_samples(self) -> int:
        return len(self._noise)

    @property
    def num_rows(self) -> int:
        """Rows of a call of the denoiser."""
        return len(self._timestep)

    def store(self) -> None:
        """Write the state of the samples back into their generations."""
        for generation, rows in zip(self.generations, self._slices):
            generation.latent = self._copy(self._latent[rows, ...])
            generation.last_noise = self._noise[rows].copy()
            own = self._memory[: generation.request.table.memory]
            generation.memory = [self._copy(slot[rows, ...]) for slot in own]

    def denoised(self, generation: Generation) -> Array:
        """The estimate of `generation`'s latent at its last step, float32 (N, C, h, w)."""
        return self._denoised[self._slices[self.generations.index(generation)], ...]

    def advance(self, denoiser: Network) -> tuple[Mark, Mark]:
        """Take every generation one row of its table on, with one call of `denoiser`; the marks before and after it."""
        samples, guided = self.num_samples, self._guided
        kept = self._gather()
        used = dict(zip(COLUMNS, self._coefficients.any(axis=(1, 2, 3, 4)).tolist()))
        coefficients = self._arrays.put(self._coefficients)
        w = {name: coefficients[column, ...] for column, name in enumerate(COLUMNS)}
        timestep = self._arrays.put(self._timestep)
        if guided:
            self._sample[samples:, ...] = self._latent[:guided, ...]

        before = self._arrays.mark()
        output = denoiser(sample=self._sample, timestep=timestep, **self._conditioning)["model_output"]
        after = self._arrays.mark()
        if guided:
            cond, uncond = output[:guided, ...], output[samples:, ...]
            mixed = guide(cond, uncond, self._guidance_scale, self._guidance_rescale)
            output = mixed if guided == samples else self._concat([mixed, output[guided:samples, ...]])

        latent = self._latent
        denoised = self._denoised = denoise(latent, output, w["x_weight"], w["output_weight"])
        remembered = None
        if self._remembers_denoised:
            remembered = denoised
        elif self._memory and (used["p"] or used["q"]):
            remembered = remember(latent, denoised, w["p"], w["q"])
        terms = [(w[name], value) for name, value in zip(("c1", "c2", "c3"), self._memory) if used[name]]
        terms.append((w["b"], denoised))
        if used["n"]:
            terms.append((w["n"], self._arrays.put(self._noise)))
        advance(latent, w["a"], terms)
        if self._memory and remembered is not None:
            self._keep(remembered, kept)
        for generation in self.generations:
            generation.row += 1
        return before, after

    def _gather(self) -> list[slice]:
        """Collect what this step needs of each generation's table; the rows whose memory it leaves as it is."""
        kept = []
        for generation, rows in zip(self.generations, self._slices):
            table, i = generation.request.table, generation.row
            self._timestep[rows] = table.timesteps[i]
            self._coefficients[:, rows, 0, 0, 0] = table.coefficients[i][:, None]
            if table.n[i]:
                self._draw(generation, self._noise[rows], float(table.noise_correlation[i]))
            if table.keeps[i]:
                kept.append(rows)
        self._timestep[self.num_samples :] = self._timestep[: self._guided]
        return kept

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

    def _keep(self, remembered: Array, kept: Sequence[slice]) -> None:
        """Make `remembered` the newest value and forget the oldest, but in the rows that are `kept` as they are."""
        self._memory.insert(0, remembered)
        oldest = self._memory.pop()
        for rows in kept:
            for slot, before in zip(self._memory, [*self._memory[1:], oldest]):
                slot[rows, ...] = before[rows, ...]

    def _remembered(self) -> list[Array]:
        """The memory of all rows, as deep as that of the generation which looks back furthest."""
        depth = max(generation.request.table.memory for generation in self.generations)
        empty = [self._arrays.xp.zeros_like(generation.latent) for generation in self.generations]
        memories = [
            [*generation.memory, *[none] * (depth - len(generation.memory))]
            for generation, none in zip(self.generations, empty)
        ]
        return [self._concat(list(slot)) for slot in zip(*memories)]

    def _rows(self, guided: Sequence[Generation]) -> dict[str, Array]:
        """The conditioning of every row of a call: the prompts', then the negative prompts'."""
        return {
            name: self._concat(
                [one.conditioning[name][:1, ...] for one in self.generations for _ in range(one.num_samples)]
                + [one.conditioning[name][1:, ...] for one in guided for _ in range(one.num_samples)]
            )
            for name in self.generations[0].conditioning
        }

    def _copy(self, array: Array) -> Array:
        return self._arrays.xp.asarray(array, copy=True)


def _remembers_denoised(table: StepTable) -> bool:
    """True where the memory of `table` is of nothing but denoised, step after step."""
    return not (table.p.any() or table.keeps.any()) and bool(np.isin(table.q, (0, 1)).all())
