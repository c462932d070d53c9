"""Networks whose calls are counted."""

from scheduler import Metrics, count_call

from networks import Network
from networks.arrays import Array, Arrays


class CountedNetwork:
    """A `Network` that is waited for, and the metrics of its calls: `network_calls_NAME`, `network_rows_NAME`,
    `network_seconds_NAME`. The scheduler, which does not wait, counts those of the denoiser."""

    def __init__(self, name: str, network: Network, arrays: Arrays, metrics: Metrics) -> None:
        self._name = name
        self._network = network
        self._arrays = arrays
        self._metrics = metrics

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        before = self._arrays.mark()
        outputs = self._network(**inputs)
        after = self._arrays.mark()
        after.wait()
        count_call(self._metrics, self._name, before, after, next(iter(inputs.values())).shape[0])
        return outputs
