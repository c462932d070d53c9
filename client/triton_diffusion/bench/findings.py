"""Findings: sentences computed from the figures of a load test."""

import numpy as np

from .results import BASELINE, BATCHING, DENOISER, Level, Results


def findings(results: Results) -> list[str]:
    """One paragraph each; only those for which the runs were made."""
    found = [_concurrency(results), _in_process(results), _batching(results), _step_cost(results)]
    return [text for text in found if text]


def _at(levels: list[Level], value: float) -> Level | None:
    return next((level for level in levels if level.value == value), None)


def _concurrency(results: Results) -> str | None:
    levels = results.find("uniform", "concurrency")
    if len(levels) < 2:
        return None
    one, most = levels[0], levels[-1]
    best = max(levels, key=lambda level: level.images_per_second)
    return (
        f"Uniform requests: {one.images_per_second:.2f} images/s at {one.value:g} at once, p50 latency"
        f" {one.latency.p50:.0f} ms; {most.images_per_second:.2f} images/s at {most.value:g} at once, p50"
        f" {most.latency.p50:.0f} ms. The most, {best.images_per_second:.2f}, is"
        f" {best.images_per_second / one.images_per_second:.2f} times the first, at {best.value:g} at once."
    )


def _in_process(results: Results) -> str | None:
    ratios = []
    for run in results.in_process:
        served = _at(results.find(run.workload, "concurrency"), run.concurrency)
        if served:
            ratio = served.images_per_second / run.images_per_second
            ratios.append(f"{ratio:.2f} ({run.workload}, {run.concurrency} at once)")
    return f"Served / in process, images/s for the same requests: {', '.join(ratios)}." if ratios else None


def _batching(results: Results) -> str | None:
    on, off = (results.find("mixed", "concurrency", server) for server in (BATCHING, BASELINE))
    if not on or not off:
        return None
    batched, single = on[-1], off[-1]
    return (
        f"Step-level batching, {batched.value:g} mixed requests at once: {batched.images_per_second:.2f} images/s"
        f" against {single.images_per_second:.2f} with one active request, {_times(batched, single):.2f} times as many;"
        f" p50 latency {batched.latency.p50:.0f} ms against {single.latency.p50:.0f} ms,"
        f" {single.latency.p50 / batched.latency.p50:.2f} times shorter. Asked one at a time, the batching server makes"
        f" {on[0].images_per_second:.2f} images/s, so sharing steps gives {_times(batched, on[0]):.2f} times that."
        " Beyond the throughput, the median gains because a short request no longer waits until the long ones before"
        " it are done: it joins at the next step and leaves after its own last one."
    )


def _step_cost(results: Results) -> str | None:
    """The cost of a denoiser call, by least squares over the sweep: fixed + sample * samples."""
    levels = results.find("uniform", "concurrency")
    samples = np.array([level.samples_per_step for level in levels])
    if len(samples) < 2 or np.ptp(samples) < 1 or not all(DENOISER in level.models for level in levels):
        return None
    calls = np.array([level.models[DENOISER].queue + level.models[DENOISER].compute for level in levels])
    sample, fixed = np.polyfit(samples, calls, 1)
    text = (
        f"Where the gain comes from: over this sweep a denoiser call took {fixed:.1f} ms + {sample:.1f} ms a sample. "
    )
    if fixed <= 0:
        return text + (
            "There is no fixed cost to share: one sample's arithmetic keeps the processor busy, and a larger batch"
            " takes proportionally longer."
        )
    bound = (fixed + sample) / sample
    return text + (
        f"Sharing a call divides the fixed {fixed:.1f} ms (the call itself, the start of every operator,"
        f" reading the weights) among its samples; the {sample:.1f} ms of arithmetic stay. So no batch can make the"
        f" denoiser more than {bound:.2f} times faster here. The bound is low if one sample's arithmetic"
        " already fills the processor, as it nearly does with a few CPU cores."
    )


def _times(one: Level, other: Level) -> float:
    return one.images_per_second / other.images_per_second
