"""Networks whose calls are counted."""

import time

import numpy as np
from scheduler import Metrics

from networks import Network


class CountedNetwork:
    """A `Network` and the metrics of its calls: `network_calls_NAME`, `network_rows_NAME`, `network_seconds_NAME`."""

    def __init__(self, name: str, network: Network, metrics: Metrics) -> None:
        self._name = name
        self._network = network
        self._metrics = metrics

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        start = time.monotonic()
        outputs = self._network(**inputs)
        self._metrics.add(f"network_seconds_{self._name}", time.monotonic() - start)
        self._metrics.add(f"network_calls_{self._name}", 1)
        self._metrics.add(f"network_rows_{self._name}", len(next(iter(inputs.values()))))
        return outputs
