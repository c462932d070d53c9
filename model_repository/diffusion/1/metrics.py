"""What the loop counts, as Triton metrics on the server's metrics endpoint."""

import threading

import triton_python_backend_utils as pb_utils

COUNTERS = {
    "unet_steps": "UNet calls",
    "unet_samples": "Samples advanced by UNet calls; over unet_steps this is the mean batch",
    "queue_wait_seconds": "Seconds that requests waited for room among the active samples",
    "generation_seconds": "Seconds from acceptance to the last response, over all requests",
}
GAUGES = {
    "active_samples": "Samples in the loop",
    "waiting_requests": "Requests waiting for room in the loop",
    "requests_in_flight": "Requests accepted and not yet answered",
}
OUTCOMES = ("done", "cancelled", "failed")


class TritonMetrics:
    """Counters and gauges named `diffusion_*`; `add` is safe from every thread."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()  # increments from two threads at once crash Triton 2.51
        family = pb_utils.MetricFamily
        counters = [family(f"diffusion_{name}_total", text, family.COUNTER) for name, text in COUNTERS.items()]
        gauges = [family(f"diffusion_{name}", text, family.GAUGE) for name, text in GAUGES.items()]
        outcomes = family("diffusion_requests_total", "Requests ended, by outcome", family.COUNTER)
        self._families = [*counters, *gauges, outcomes]  # a family that is collected takes its metrics along
        self._metrics = {name: family.Metric(labels={}) for name, family in zip([*COUNTERS, *GAUGES], self._families)}
        for outcome in OUTCOMES:
            self._metrics[f"requests_{outcome}"] = outcomes.Metric(labels={"outcome": outcome})

    def add(self, name: str, amount: float) -> None:
        """Count `amount` up, or, for a gauge, down."""
        with self._one_at_a_time:
            self._metrics[name].increment(float(amount))
