"""One run over the ladder: what each rung's quality and speed are, or why it was not run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from export.benchmark.flops import matrix_product_rate, unet_flops
from export.benchmark.machine import machine
from export.benchmark.quality import CONFIRMED, FIRST_SEED, Quality
from export.benchmark.record import Record, Result
from export.benchmark.reference import FINE_STEPS, FINER_STEPS
from export.benchmark.rungs import Rung, ladder
from export.benchmark.timing import Timing, measure
from export.benchmark.workplace import Workplace
from export.errors import quote


class Part(StrEnum):
    """Half of a run."""

    QUALITY = "quality"
    SPEED = "speed"


@dataclass(frozen=True)
class Run:
    """What is measured, of which checkpoint."""

    workplace: Workplace
    parts: tuple[Part, ...]
    pictures: int  # that quality is judged by
    report: Callable[[str], None]  # is told in a few words what is being done

    def measure(self) -> Record:
        """The whole ladder. Quality comes first: it does not mind what else the machine does."""
        self.workplace.export("fp32", self.report)  # every engine's loop reads its facts
        results = [Result(rung, skipped=rung.engine.missing(self.workplace)) for rung in ladder()]
        results = [self._each(result, self._prepare) for result in results]
        reference: dict[str, Any] = {}
        if Part.QUALITY in self.parts:
            quality = Quality(self.workplace, self.pictures, self.report)
            results = [self._each(result, lambda r: replace(r, quality=quality.figures(r.rung))) for result in results]
            reference = self._reference(quality)
        rates: dict[str, float] = {}
        if Part.SPEED in self.parts:
            results = [self._each(result, lambda r: replace(r, timing=self._time(r.rung))) for result in results]
            precisions = {result.rung.engine.precision for result in results if result.timing}
            self.report("matrix products")
            rates = {name: round(matrix_product_rate(name, self.workplace.threads) / 1e9, 1) for name in precisions}
        checkpoint = {"name": self.workplace.checkpoint.name, "digest": self.workplace.folder.name}
        rows = 2 if self.workplace.checkpoint.guidance_scale > 1 else 1
        gflop = unet_flops(self.workplace.checkpoint, rows) / 1e9
        return Record(checkpoint, machine(), gflop, rates, reference, results)

    def _prepare(self, result: Result) -> Result:
        if result.rung.engine.exported:
            self.workplace.export(result.rung.engine.exported, self.report)
        return result

    def _time(self, rung: Rung) -> Timing:
        return measure(rung.engine, rung.sampler, self.workplace)

    def _reference(self, quality: Quality) -> dict[str, Any]:
        return {
            "pictures": self.pictures,
            "first_seed": FIRST_SEED,
            "fine_steps": FINE_STEPS,
            "distance_from_finer": {
                "steps": FINER_STEPS,
                "pictures": min(CONFIRMED, self.pictures),
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
