"""Counters of the loop, as Triton metrics on the server's metrics endpoint."""

import ctypes
import threading

import triton_python_backend_utils as pb_utils

COUNTERS = {
    "denoiser_steps": "Denoiser calls",
    "denoiser_samples": "Samples advanced by denoiser calls; over denoiser_steps this is the mean batch",
    "denoiser_seconds": "Seconds inside denoiser calls; over denoiser_steps this is the mean step",
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
OUTCOMES = ("done", "cancelled", "failed", "refused", "expired", "invalid")


class TritonMetrics:
    """Counters, gauges and histograms named `diffusion_*`; safe from every thread."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()  # increments from two threads at once crash Triton 2.51
        family = pb_utils.MetricFamily
        counters = [family(f"diffusion_{name}_total", text, family.COUNTER) for name, text in COUNTERS.items()]
        gauges = [family(f"diffusion_{name}", text, family.GAUGE) for name, text in GAUGES.items()]
        histograms = [family(f"diffusion_{name}", text, family.HISTOGRAM) for name, text in HISTOGRAMS.items()]
        outcomes = family("diffusion_requests_total", "Requests ended, by outcome", family.COUNTER)
        self._families = [*counters, *gauges, *histograms, outcomes]  # collected, one takes its metrics along
        # Never collected: when the server stops, the stub frees its shared memory before Python's objects, and a family
        # that ends after that reads it (signal 11 in Triton 2.51).
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._families))
        self._metrics = {name: family.Metric(labels={}) for name, family in zip(COUNTERS, counters)}
        self._metrics |= {name: family.Metric(labels={}) for name, family in zip(GAUGES, gauges)}
        self._metrics |= {name: f.Metric(labels={}, buckets=BUCKETS) for name, f in zip(HISTOGRAMS, histograms)}
        self._metrics |= {f"requests_{name}": outcomes.Metric(labels={"outcome": name}) for name in OUTCOMES}

    def add(self, name: str, amount: float) -> None:
        """Count `amount` up, or, for a gauge, down."""
        if amount:
            with self._one_at_a_time:
                self._metrics[name].increment(float(amount))

    def observe(self, name: str, value: float) -> None:
        """Put `value`, in seconds, into a histogram."""
        with self._one_at_a_time:
            self._metrics[name].observe(value)
