"""Quality of images: distance from the fine ODE solution, and the share that show what their prompts say.

All rungs get the same prompts and seeds, so every comparison is paired.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from checkpoint import Checkpoint as Served
from sampling import StepTable, step_table

from benchmarks.ladder.engines.engine import Engine, device
from benchmarks.ladder.engines.loop import request
from benchmarks.ladder.engines.onnxruntime_engine import OnnxEngine
from benchmarks.ladder.engines.torch_engine import TorchEngine
from benchmarks.ladder.images import ImageCache, Images
from benchmarks.ladder.reference import FINE_STEPS, FINER_STEPS, fine_table
from benchmarks.ladder.rungs import Rung
from benchmarks.ladder.samplers import DDPM, DPMPP_2M, Sampler
from benchmarks.ladder.statistics import bootstrap_rms, mcnemar, share
from benchmarks.ladder.workspace import Workspace
from export.graph.gate import psnr
from shapes.analyser import analyse
from shapes.evaluate import evaluation_prompts

EXACT: Engine = TorchEngine(efficient_attention=True) if device() == "cuda" else OnnxEngine()
"""Computes whatever takes hundreds of steps: FP32, equal to plain PyTorch but for rounding, and faster."""
PLAIN = TorchEngine()
"""The engine whose images the others' are compared with."""
ENGINE_IMAGES = 64
"""Images that the other engines are judged by: they differ from `PLAIN` by rounding only."""
FIRST_SEED = 1000
CONFIRMED = 8
"""Images on which the fine solution is compared with the finer one."""
HELD_OUT = 0.25
"""Share of the prompts that ask for combinations the shipped checkpoint's training never saw."""
TRAINING_RECORD = "training.json"
"""`python -m shapes train` leaves it in the checkpoints that it trains."""
MAX_PSNR = 100.0
"""Decibels; stands for images that are equal."""


@dataclass(frozen=True)
class Figures:
    """The quality of one rung; None where a figure does not apply."""

    engine: str  # that computed the images
    images: int
    rms: float | None  # distance from the fine ODE solution, in standard deviations of its latents
    rms_interval: tuple[float, float] | None  # 95 %
    adherence: float | None  # share of the images that show all that their prompts say
    adherence_interval: tuple[float, float] | None  # 95 %
    mcnemar: float | None  # p of equal adherence to DDPM with 1000 steps
    psnr: float | None  # decibels to plain PyTorch in FP32 with the same sampler, over all images


class Quality:
    """The figures of rungs, worked out of images, which are generated unless the cache has them."""

    def __init__(self, workspace: Workspace, count: int, report: Callable[[str], None]) -> None:
        """`count`: images, one a prompt. Adherence is judged where the checkpoint knows the analyser's scenes."""
        self._workspace = workspace
        self._served = Served.from_file(workspace.repository() / "diffusion/1/checkpoint.json")
        self._cache = ImageCache(workspace.images, report)
        held_out = round(HELD_OUT * count)
        questions = evaluation_prompts(count - held_out, held_out, seed=5)
        self._scenes = [scene for scene, _ in questions]
        self._prompts = [prompt for _, prompt in questions]
        self._judges = (workspace.checkpoint.folder / TRAINING_RECORD).exists()

    def figures(self, rung: Rung) -> Figures:
        """The quality of `rung`; those of another sampler than 2M are computed by `EXACT`, whatever their engine."""
        engine = rung.engine if rung.sampler == DPMPP_2M else EXACT
        count = len(self._prompts) if engine in (EXACT, PLAIN) else min(ENGINE_IMAGES, len(self._prompts))
        answers = self.answers(rung.sampler, engine, count)
        rms = rms_interval = adherence = adherence_interval = p = decibels = None
        if rung.sampler.deterministic:
            rms, rms_interval = distance(answers.latent, self._fine.latent[:count])
        if self._judges:
            right = self._verdicts(answers)
            adherence, adherence_interval = share(right)
            p = mcnemar(self._reference[:count], right)
        if rung.sampler == DPMPP_2M and engine != PLAIN:
            decibels = min(psnr(self.answers(DPMPP_2M, PLAIN, count).image, answers.image), MAX_PSNR)
        return Figures(engine.name, count, rms, rms_interval, adherence, adherence_interval, p, decibels)

    def confirmation(self) -> float:
        """Distance of the fine solution from the finer one, on the first few questions."""
        finer = self._images(EXACT, fine_table(self._served.noise_schedule, FINER_STEPS), CONFIRMED)
        return distance(self._fine.latent[:CONFIRMED], finer.latent)[0]

    def answers(self, sampler: Sampler, engine: Engine, count: int | None = None) -> Images:
        """Images of the first `count` questions, or of all, by `sampler`, computed by `engine`."""
        return self._images(engine, step_table(self._served.noise_schedule, sampler.name, sampler.steps), count)

    @cached_property
    def _fine(self) -> Images:
        return self._images(EXACT, fine_table(self._served.noise_schedule, FINE_STEPS))

    @cached_property
    def _reference(self) -> np.ndarray:
        return self._verdicts(self.answers(DDPM, EXACT))

    def _verdicts(self, answers: Images) -> np.ndarray:
        """True for each image that shows all five attributes of its prompt: bool (N,)."""
        return np.array([analyse(image) == scene for image, scene in zip(answers.image, self._scenes)])

    def _images(self, engine: Engine, table: StepTable, count: int | None = None) -> Images:
        requests = [request(self._served, prompt, FIRST_SEED + k, table) for k, prompt in enumerate(self._prompts)]
        return self._cache.images(engine.name, cache(lambda: engine.open(self._workspace)), requests[:count])


def distance(latent: np.ndarray, reference: np.ndarray) -> tuple[float, tuple[float, float]]:
    """RMS of `latent` - `reference`, both (N, C, h, w), over the reference's standard deviation, and its interval."""
    squares = np.mean((latent.astype(np.float64) - reference) ** 2, axis=(1, 2, 3))
    return bootstrap_rms(squares / reference.astype(np.float64).var())
