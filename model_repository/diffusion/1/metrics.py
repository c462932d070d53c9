"""Counters of the loop, as Triton metrics on the server's metrics endpoint."""

import ctypes
import threading
import time
from collections import deque
from collections.abc import Iterable

import triton_python_backend_utils as pb_utils

COUNTERS = {
    "denoiser_steps": "Denoiser calls",
    "denoiser_samples": "Samples advanced by denoiser calls; over denoiser_steps this is the mean batch",
    "denoiser_seconds": "Seconds inside denoiser calls; over denoiser_steps this is the mean step",
}
OF_A_NETWORK = {
    "calls": "Calls of a network",
    "rows": "Rows of all calls of a network; over the calls this is the mean batch",
    "seconds": "Seconds inside a network",
}
GAUGES = {
    "active_samples": "Samples in the loop",
    "max_active_samples": "Samples that the loop has room for",
    "waiting_requests": "Requests waiting for room in the loop",
    "requests_in_flight": "Requests accepted and not yet answered",
}
HISTOGRAMS = {
    "queue_wait_seconds": "Seconds that requests waited for room among the active samples",
    "generation_seconds": "Seconds from acceptance to the last response",
}
BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250]  # seconds
TOLD_EVERY = 0.1
"""Seconds for which the counts of steps and networks may be kept back; any other change tells them, too."""
OUTCOMES = ("done", "cancelled", "failed", "refused", "expired", "invalid")


class TritonMetrics:
    """Counters, gauges and histograms named `diffusion_*`; safe from every thread.

    A change that Triton is told costs a message to it and the answer, so a step's are kept and told together later.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        """`networks`: names of those that are counted."""
        self._one_at_a_time = threading.Lock()  # increments from two threads at once crash Triton 2.51
        self._changes: deque[tuple[str, float]] = deque()  # in order
        self._due = 0.0  # when they are told, time.monotonic()
        family = pb_utils.MetricFamily
        counters = [family(f"diffusion_{name}_total", text, family.COUNTER) for name, text in COUNTERS.items()]
        of_network = [
            family(f"diffusion_network_{name}_total", text, family.COUNTER) for name, text in OF_A_NETWORK.items()
        ]
        gauges = [family(f"diffusion_{name}", text, family.GAUGE) for name, text in GAUGES.items()]
        histograms = [family(f"diffusion_{name}", text, family.HISTOGRAM) for name, text in HISTOGRAMS.items()]
        outcomes = family("diffusion_requests_total", "Requests ended, by outcome", family.COUNTER)
        # Collected, one takes its metrics along.
        self._families = [*counters, *of_network, *gauges, *histograms, outcomes]
        # Never collected: when the server stops, the stub frees its shared memory before Python's objects, and a family
        # that ends after that reads it (signal 11 in Triton 2.51).
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._families))
        self._metrics = {name: family.Metric(labels={}) for name, family in zip(COUNTERS, counters)}
        for network in networks:
            labels = {"network": network}
            self._metrics |= {
                f"network_{name}_{network}": f.Metric(labels) for name, f in zip(OF_A_NETWORK, of_network)
            }
        self._kept_back = frozenset(self._metrics)
        self._metrics |= {name: family.Metric(labels={}) for name, family in zip(GAUGES, gauges)}
        self._metrics |= {f"requests_{name}": outcomes.Metric(labels={"outcome": name}) for name in OUTCOMES}
        self._histograms = {name: f.Metric(labels={}, buckets=BUCKETS) for name, f in zip(HISTOGRAMS, histograms)}

    def add(self, name: str, amount: float) -> None:
        """Count `amount` up, or, for a gauge, down."""
        if amount:
            self._change(name, amount)

    def observe(self, name: str, value: float) -> None:
        """Put `value`, in seconds, into a histogram."""
        self._change(name, value)

    def _change(self, name: str, amount: float) -> None:
        self._changes.append((name, amount))
        if name not in self._kept_back or time.monotonic() >= self._due:
            self._tell()

    def _tell(self) -> None:
        with self._one_at_a_time:
            sums: dict[str, float] = {}
            while self._changes:
                name, amount = self._changes.popleft()
                if name in self._histograms:
                    self._histograms[name].observe(amount)
                else:
                    sums[name] = sums.pop(name, 0.0) + amount  # the last change of all is told last
            for name, amount in sums.items():
                self._metrics[name].increment(amount)
            self._due = time.monotonic() + TOLD_EVERY
