"""The ladder, from DDPM with 1000 steps to the compiled FP16 networks, with diffusers beside them.

The engines are opened side by side and measured in turn, in rounds. With random weights there is no quality to judge:
each engine's image is compared with that of plain PyTorch in FP32.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu import questions
from benchmarks.gpu.record import Record
from benchmarks.gpu.workers import Worker, WorkerError
from benchmarks.ladder.engines.diffusers_engine import DiffusersEngine
from benchmarks.ladder.engines.engine import Engine
from benchmarks.ladder.engines.torch_engine import ServedTorchEngine, TorchEngine
from benchmarks.ladder.flops import denoiser_flops, matrix_product_rate
from benchmarks.ladder.rungs import Rung
from benchmarks.ladder.workspace import Workspace
from export.graph.gate import psnr

CROWDS = (1, 8)
"""Images at once that `--runtime torch` is asked for. Each has an engine compiled for its guided rows, twice as many,
so that they compile side by side; the rung is the first."""
LONGEST = 100  # steps of an image that is made in full


@dataclass(frozen=True)
class Amount:
    """How much is measured: a rehearsal's is small."""

    rounds: int = 2
    calls: int = 20  # of the denoiser, a round
    images: int = 2  # a round
    few: int = 10  # steps of the two images that a longer one's time is concluded from
    more: int = 30
    requests: int = 32  # of a run of perf_analyzer
    opening: float = 210.0  # seconds that the engines may take to open
    side: int | None = None  # of the matrices whose product is timed; None: large enough for the full rate


@dataclass
class Opened:
    """An engine that opened, and its figures."""

    worker: Worker
    seconds: float  # that it took, beside all the others
    calls: list[float] = field(default_factory=list)  # milliseconds
    images: dict[str, list[float]] = field(default_factory=dict)  # seconds, by rung


class Ladder:
    """One run over some of the rungs."""

    def __init__(
        self,
        workspace: Workspace,
        record: Record,
        amount: Amount,
        rungs: Sequence[Rung],
        report: Callable[[str], None],
    ) -> None:
        self._workspace = workspace
        self._record = record
        self._amount = amount
        self._report = report
        self._missing = {r.engine.name: why for r in rungs if (why := r.engine.missing(workspace))}
        self._crowds: dict[int, Engine] = {}
        self._rungs = [
            Rung(r.name, r.sampler, self._single(r.engine)) for r in rungs if r.engine.name not in self._missing
        ]
        engines = [*(rung.engine for rung in self._rungs), *self._crowds.values()]
        self._engines = {engine.name: engine for engine in engines}
        self._images_a_second: dict[str, dict[int, float]] = {}
        self._first: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._peaks: dict[str, int] = {}
        self._opened: dict[str, Opened] = {}

    def measure(self) -> None:
        """Measure everything that this machine can, into the record."""
        self._report("matrix products")
        flops = denoiser_flops(self._workspace.checkpoint, 2)
        precisions = {engine.precision for engine in self._engines.values()}
        rates = {name: matrix_product_rate(name, side=self._amount.side) for name in sorted(precisions)}
        self._record.put("gflop_a_call", round(flops / 1e9, 1))
        self._record.put("matrix_product_tflops", {name: round(rate / 1e12, 2) for name, rate in rates.items()})
        self._report(f"opening {len(self._engines)} engines")
        workers = {name: Worker(engine, self._workspace) for name, engine in self._engines.items()}
        try:
            self._open(workers)
            for k in range(self._amount.rounds):
                self._report(f"round {k + 1} of {self._amount.rounds}")
                self._each(self._round)
                self._record.put("rungs", [row for rung in self._rungs for row in self._row(rung, flops, rates)])
            self._report("comparing images")
            self._compare()
            self._report("several images at once")
            self._each(self._crowd)
            self._among_others()
            self._each(self._peak)
        finally:
            for worker in workers.values():
                worker.close()

    def _single(self, engine: Engine) -> Engine:
        """`engine` itself, or of `--runtime torch` the one for single images; the others' are then known too."""
        if not isinstance(engine, ServedTorchEngine):
            return engine
        self._crowds = {count: ServedTorchEngine(engine.precision, (2 * count,)) for count in CROWDS}
        return self._crowds[1]

    def _open(self, workers: dict[str, Worker]) -> None:
        deadline = time.monotonic() + self._amount.opening
        for name, worker in workers.items():
            try:
                self._opened[name] = Opened(worker, worker.wait(deadline))
            except WorkerError as reason:
                self._missing[name] = str(reason)
        self._record.put("opening_seconds", {name: round(opened.seconds, 1) for name, opened in self._opened.items()})
        self._record.put("not_run", self._missing)

    def _each(self, measure: Callable[[str, Opened], object]) -> None:
        """Measure every engine that is still there; one that fails is out, with the reason."""
        for name, opened in list(self._opened.items()):
            try:
                measure(name, opened)
            except WorkerError as reason:
                del self._opened[name]
                self._missing[name] = str(reason)
                self._record.put("not_run", self._missing)

    def _round(self, name: str, opened: Opened) -> None:
        amount = self._amount
        if name not in [rung.engine.name for rung in self._rungs]:
            return
        opened.calls += opened.worker.ask(partial(questions.call_milliseconds, calls=amount.calls))
        for rung in self._rungs:
            if rung.engine.name == name:
                seconds = opened.images.setdefault(rung.name, [])
                if rung.sampler.steps <= LONGEST:
                    whole = partial(questions.image_seconds, sampler=rung.sampler, images=amount.images)
                    seconds += opened.worker.ask(whole)
                else:
                    question = partial(
                        questions.image_seconds_by_fewer, sampler=rung.sampler, few=amount.few, more=amount.more
                    )
                    seconds.append(opened.worker.ask(question))

    def _row(self, rung: Rung, flops: float, rates: dict[str, float]) -> list[dict[str, Any]]:
        """The figures of `rung` so far, if there are any."""
        opened = self._opened.get(rung.engine.name)
        if opened is None or not opened.calls:
            return []
        call, images = statistics.median(opened.calls), opened.images[rung.name]
        rate = 1000 * flops / call
        return [
            {
                "rung": rung.name,
                "engine": rung.engine.name,
                "sampler": rung.sampler.name,
                "steps": rung.sampler.steps,
                "concluded_from_fewer_steps": rung.sampler.steps > LONGEST,
                "call_ms": round(call, 3),
                "call_ms_p10_p90": [round(float(value), 3) for value in np.quantile(opened.calls, (0.1, 0.9))],
                "tflops": round(rate / 1e12, 2),
                "of_matrix_product": round(rate / rates[rung.engine.precision], 3),
                "seconds_an_image": round(statistics.median(images), 4),
                "seconds_of_all_images": [round(value, 4) for value in images],
            }
        ]

    def _compare(self) -> None:
        """How far each engine's image is from plain PyTorch's in FP32."""
        images: dict[str, np.ndarray] = {}

        def ask(name: str, opened: Opened) -> None:
            images[name] = opened.worker.ask(questions.image)

        self._each(ask)
        reference = images.get(TorchEngine().name)
        if reference is not None:
            self._record.put("psnr_to_fp32", {name: decibels(reference, image) for name, image in images.items()})
            self._record.put("standard_deviation_of_the_image", round(float(reference.std()), 1))

    def _crowd(self, name: str, opened: Opened) -> None:
        """Images a second, of those engines that are compiled for so many, or not compiled at all."""
        engine = self._engines[name]
        counts = [count for count, crowd in self._crowds.items() if crowd == engine]
        for count in CROWDS if isinstance(engine, DiffusersEngine) and not engine.compiled else counts:
            crowd = partial(questions.crowd_seconds, images=count)
            opened.worker.ask(crowd)
            seconds = statistics.median(opened.worker.ask(crowd) for _ in range(self._amount.rounds))
            kind = "--runtime torch" if isinstance(engine, ServedTorchEngine) else name
            self._images_a_second.setdefault(kind, {})[count] = round(count / seconds, 2)
            self._record.put("images_a_second_at_once", self._images_a_second)
            if isinstance(engine, ServedTorchEngine):
                self._first[count] = opened.worker.ask(partial(questions.first_of, images=count))

    def _peak(self, name: str, opened: Opened) -> None:
        self._peaks[name] = round(opened.worker.ask(questions.peak_mib))
        self._record.put("peak_mib", self._peaks)

    def _among_others(self) -> None:
        """The same image alone and among others."""
        if self._first.keys() < set(CROWDS) or not self._first:
            return
        (latent, image), (latent_among, image_among) = (self._first[count] for count in CROWDS)
        self._record.put(
            "alone_and_among_others",
            {
                "others": CROWDS[-1] - 1,
                "bit_equal": bool((latent == latent_among).all()),
                "largest_difference_of_latents": float(np.abs(latent - latent_among).max()),
                "standard_deviation_of_latents": float(latent.std()),
                "psnr": decibels(image, image_among),
            },
        )


def decibels(reference: np.ndarray, image: np.ndarray) -> float | None:
    """PSNR of two images uint8; None where they are equal."""
    found = psnr(reference, image)
    return round(float(found), 1) if np.isfinite(found) else None
