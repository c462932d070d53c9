"""Record of a run, as it is written to JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.ladder.quality import Figures
from benchmarks.ladder.rungs import Rung
from benchmarks.ladder.samplers import DDIM, DPMPP_2M, Sampler
from benchmarks.ladder.timing import Timing
from benchmarks.recording import write_record

SIGNIFICANT = 0.05
MIN_PSNR = 40.0
"""Decibels, of all images together, whatever the precision."""


@dataclass(frozen=True)
class Result:
    """One rung, as far as it was run."""

    rung: Rung
    timing: Timing | None = None
    quality: Figures | None = None
    skipped: str | None = None  # why it was not run


@dataclass(frozen=True)
class Gate:
    """Something that must hold."""

    name: str
    found: str
    holds: bool


@dataclass(frozen=True)
class Record:
    """One run over the whole ladder."""

    checkpoint: dict[str, Any]
    machine: dict[str, Any]
    denoiser_gflop: float  # of one timed call, counted in the plain denoiser
    matrix_product_rates: dict[str, float]  # GFLOP/s of this machine's large matrix products, by precision
    reference: dict[str, Any]  # how the fine ODE solution was made and how sure it is
    results: list[Result]

    def write(self, path: Path) -> None:
        """Write it to `path` as JSON."""
        content = {
            "checkpoint": self.checkpoint,
            "machine": self.machine,
            "denoiser_gflop": round(self.denoiser_gflop, 3),
            "matrix_product_gflops": self.matrix_product_rates,
            "reference": self.reference,
            "gates": [asdict(gate) for gate in gates(self.results)],
            "rungs": [self._row(result) for result in self.results],
        }
        write_record(path, content)

    def denoiser_rate(self, timing: Timing) -> float:
        """GFLOP/s of a denoiser call of median length."""
        return self.denoiser_gflop / timing.denoiser_ms_median * 1000

    def _row(self, result: Result) -> dict[str, Any]:
        rung, timing, quality = result.rung, result.timing, result.quality
        return {
            "rung": rung.name,
            "sampler": rung.sampler.name,
            "steps": rung.sampler.steps,
            "engine": rung.engine.name,
            "precision": rung.engine.precision,
            "skipped": result.skipped,
            "timing": _rounded({**asdict(timing), "denoiser_gflops": self.denoiser_rate(timing)}) if timing else None,
            "quality": _rounded(asdict(quality)) if quality else None,
        }


def gates(results: list[Result]) -> list[Gate]:
    """The gates of the quality, as far as it was measured."""
    found = []
    distances: dict[Sampler, float] = {}
    for result in results:
        if result.quality and result.quality.rms is not None:
            distances.setdefault(result.rung.sampler, result.quality.rms)
    if {DDIM, DPMPP_2M} <= distances.keys():
        ours, theirs = distances[DPMPP_2M], distances[DDIM]
        text = f"{ours:.4f} against {theirs:.4f}"
        found.append(Gate("distance of DPM++ 2M with 20 steps at most that of DDIM with 50", text, ours <= theirs))
    judged = [(r.quality.mcnemar, r.rung.name) for r in results if r.quality and r.quality.mcnemar is not None]
    if judged:
        p, name = min(judged)
        text = f"smallest p {p:.3f} ({name})"
        found.append(Gate("no significant difference in adherence to DDPM with 1000 steps", text, p >= SIGNIFICANT))
    compared = [(r.quality.psnr, r.rung.name) for r in results if r.quality and r.quality.psnr is not None]
    if compared:
        decibels, name = min(compared)
        text = f"smallest {decibels:.1f} dB ({name})"
        found.append(Gate(f"PSNR to plain PyTorch in FP32 at least {MIN_PSNR:g} dB", text, decibels >= MIN_PSNR))
    return found


def _rounded(value: Any) -> Any:
    """Five digits of every number: more say nothing and change with every run."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
