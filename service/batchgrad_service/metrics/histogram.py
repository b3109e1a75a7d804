"""A Prometheus histogram that takes many numbers at once: jobs report thousands a second."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class BulkHistogram(Collector):
    """Counts numbers by one label; register it like the library's own metrics."""

    def __init__(
        self, name: str, help_text: str, label: str, values: Iterable[str], bounds: Sequence[float]
    ) -> None:
        """`values` of the label have series from the start; `bounds` are ascending."""
        self._name, self._help, self._label = name, help_text, label
        self._bounds = np.array(bounds)
        self._lock = threading.Lock()
        self._counts = {value: [0] * (len(bounds) + 1) for value in values}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, value: str, numbers: Sequence[float]) -> None:
        """Count numbers under a value of the label; one equal to a bound is in its bucket."""
        places = np.searchsorted(self._bounds, numbers)
        found = np.bincount(places, minlength=len(self._bounds) + 1).tolist()
        with self._lock:
            known = self._counts.get(value, [0] * len(found))
            self._counts[value] = [a + b for a, b in zip(known, found, strict=True)]
            self._sums[value] = self._sums.get(value, 0.0) + sum(numbers)

    def collect(self) -> Iterator[Metric]:
        """Yield the one metric."""
        family = HistogramMetricFamily(self._name, self._help, labels=[self._label])
        bounds = [*map(str, self._bounds.tolist()), "+Inf"]
        with self._lock:
            for value, counts in self._counts.items():
                buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
                family.add_metric([value], buckets, self._sums[value])
        yield family
