"""One run over the ladder: each rung's quality and speed, or why it was not run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from benchmarks.ladder.flops import denoiser_flops, matrix_product_rate
from benchmarks.ladder.quality import CONFIRMED, FIRST_SEED, Quality
from benchmarks.ladder.record import Record, Result
from benchmarks.ladder.reference import FINE_STEPS, FINER_STEPS
from benchmarks.ladder.rungs import Rung, ladder
from benchmarks.ladder.timing import Timing, measure
from benchmarks.ladder.workspace import Workspace
from benchmarks.recording import machine
from export.errors import quote


class Part(StrEnum):
    """Half of a run."""

    QUALITY = "quality"
    SPEED = "speed"


@dataclass(frozen=True)
class Run:
    """A run: the workspace of a checkpoint, and the parts that are measured."""

    workspace: Workspace
    parts: tuple[Part, ...]
    images: int  # that quality is judged by
    report: Callable[[str], None]  # is told in a few words what is being done

    def measure(self) -> Record:
        """The whole ladder. Quality comes first: it does not mind what else the machine does."""
        self.workspace.export("fp32", self.report)  # every engine's loop reads its facts
        results = [Result(rung, skipped=rung.engine.missing(self.workspace)) for rung in ladder()]
        results = [self._each(result, self._prepare) for result in results]
        reference: dict[str, Any] = {}
        if Part.QUALITY in self.parts:
            quality = Quality(self.workspace, self.images, self.report)
            results = [self._each(result, lambda r: replace(r, quality=quality.figures(r.rung))) for result in results]
            reference = self._reference(quality)
        rates: dict[str, float] = {}
        if Part.SPEED in self.parts:
            results = [self._each(result, lambda r: replace(r, timing=self._time(r.rung))) for result in results]
            precisions = {result.rung.engine.precision for result in results if result.timing}
            self.report("matrix products")
            rates = {name: round(matrix_product_rate(name, self.workspace.threads) / 1e9, 1) for name in precisions}
        checkpoint = {"name": self.workspace.checkpoint.name, "digest": self.workspace.folder.name}
        rows = 2 if self.workspace.checkpoint.defaults["guidance_scale"] > 1 else 1
        gflop = denoiser_flops(self.workspace.checkpoint, rows) / 1e9
        return Record(checkpoint, machine(), gflop, rates, reference, results)

    def _prepare(self, result: Result) -> Result:
        if result.rung.engine.exported:
            self.workspace.export(result.rung.engine.exported, self.report)
        return result

    def _time(self, rung: Rung) -> Timing:
        return measure(rung.engine, rung.sampler, self.workspace)

    def _reference(self, quality: Quality) -> dict[str, Any]:
        return {
            "images": self.images,
            "first_seed": FIRST_SEED,
            "fine_steps": FINE_STEPS,
            "distance_from_finer": {
                "steps": FINER_STEPS,
                "images": min(CONFIRMED, self.images),
                "distance": float(f"{quality.confirmation():.3g}"),
            },
        }

    def _each(self, result: Result, measure_more: Callable[[Result], Result]) -> Result:
        """`result` and what `measure_more` adds to it; a rung that fails is left out, and the others go on."""
        if result.skipped:
            return result
        self.report(result.rung.name)
        try:
            return measure_more(result)
        except Exception as error:  # whatever an engine raised
            return replace(result, skipped=f"failed: {quote(error)}")
