"""How good each sampler's pictures are: distance from the fine ODE solution, and whether they show their prompts.

All samplers get the same prompts and seeds, so every comparison is paired.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from batch import UNet
from request import Request
from sampling import StepTable, step_table

from export.benchmark.host import Host
from export.benchmark.pictures import Album, Pictures
from export.benchmark.reference import FINE_STEPS, FINER_STEPS, fine_table
from export.benchmark.statistics import bootstrap_rms, mcnemar
from export.shapes.analyser import analyse
from export.shapes.evaluate import evaluation_prompts
from export.shapes.scenes import Scene

ENGINE = "onnxruntime"
"""What computes the samplers' pictures: its graph equals PyTorch's to the export's gate, and it is the fastest here."""
FIRST_SEED = 1000
CONFIRMED = 8
"""Pictures on which the fine solution is compared with the finer one."""
HELD_OUT = 0.25
"""Share of the prompts that ask for combinations the shipped checkpoint's training never saw."""


@dataclass(frozen=True)
class Sampler:
    """A sampler as the ladder uses it; `name` is the wire interface's."""

    name: str
    steps: int

    @property
    def deterministic(self) -> bool:
        """Whether it approximates the ODE's solution."""
        return self.name != "ddpm"

    def __str__(self) -> str:
        return f"{self.name}-{self.steps}"


DDPM, DDIM, DPMPP_2M = Sampler("ddpm", 1000), Sampler("ddim", 50), Sampler("dpmpp_2m", 20)
SAMPLERS = (DPMPP_2M, DDIM, DDPM)  # the quick ones first


@dataclass(frozen=True)
class Exam:
    """The questions that every sampler answers."""

    scenes: list[Scene]
    prompts: list[str]

    @classmethod
    def of(cls, pictures: int) -> "Exam":
        """`pictures` prompts, a quarter of them held out."""
        held_out = round(HELD_OUT * pictures)
        questions = evaluation_prompts(pictures - held_out, held_out, seed=5)
        return cls([scene for scene, _ in questions], [prompt for _, prompt in questions])


@dataclass(frozen=True)
class Figures:
    """The quality of one set of answers; None where it does not apply."""

    rms: tuple[float, float, float] | None  # distance from the fine ODE solution, and its 95 % interval
    adherence: float | None  # share of pictures that show all that their prompts say
    mcnemar: float | None  # p of equal adherence to DDPM-1000


class Quality:
    """Generates what the figures need, or finds it in the album, and works them out."""

    def __init__(self, host: Host, exam: Exam, album: Album) -> None:
        self._host = host
        self._exam = exam
        self._album = album

    def answers(self, sampler: Sampler, engine: str = ENGINE, unet: Callable[[], UNet] | None = None) -> Pictures:
        """What `sampler` answers, computed by `unet`, which is called `engine`."""
        table = step_table(self._host.served.noise_schedule, sampler.name, sampler.steps)
        return self._album.pictures(engine, unet or self._host.onnx_unet, self._requests(table))

    def fine(self) -> Pictures:
        """The fine ODE solution of every question."""
        return self._fine(FINE_STEPS, len(self._exam.prompts))

    def confirmation(self) -> float:
        """Distance of the fine solution from the finer one, on the first few questions."""
        count = min(CONFIRMED, len(self._exam.prompts))
        return distance(self.fine().latent[:count], self._fine(FINER_STEPS, count).latent)[0]

    def figures(self, sampler: Sampler, answers: Pictures) -> Figures:
        """The quality of `answers` by `sampler`."""
        rms = distance(answers.latent, self.fine().latent) if sampler.deterministic else None
        right, reference = self.verdicts(answers), self.verdicts(self.answers(DDPM))
        return Figures(rms, float(right.mean()), mcnemar(reference, right))

    def verdicts(self, answers: Pictures) -> np.ndarray:
        """Whether each picture shows all five attributes of its prompt: bool (N,)."""
        return np.array([analyse(image) == scene for image, scene in zip(answers.image, self._exam.scenes)])

    def _fine(self, steps: int, count: int) -> Pictures:
        table = fine_table(self._host.served.noise_schedule, steps)
        return self._album.pictures(ENGINE, self._host.onnx_unet, self._requests(table)[:count])

    def _requests(self, table: StepTable) -> list[Request]:
        return [self._host.request(prompt, FIRST_SEED + k, table) for k, prompt in enumerate(self._exam.prompts)]


def distance(latent: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """RMS of `latent` - `reference`, both (N, C, h, w), over the reference's standard deviation, and its interval."""
    squares = np.mean((latent.astype(np.float64) - reference) ** 2, axis=(1, 2, 3))
    return bootstrap_rms(squares / reference.astype(np.float64).var())
