"""Mean inputs, mean errors and mean targets of a minibatch, from which the shortcuts start."""

from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Shape
from batchgrad_workers.nn.layers.base import SumBuffers
from batchgrad_workers.nn.network import Network


@dataclass(frozen=True)
class Means:
    """Weighted means over the minibatch; every array has a leading axis of 1.

    With S steps at once, arrays have an axis S in front of it.

    `inputs[l]` is layer l's mean input; `errors[l]` the mean error at layer l's output, for each
    layer with parameters, each sum of a residual block and the last one; `targets` (1, outputs)
    the mean target row.
    """

    inputs: list[Array]
    errors: dict[int, Array]
    targets: Array


class MeansLayout:
    """Layout of the sums in one flat vector, so that joining two of them is one addition."""

    def __init__(self, network: Network) -> None:
        """Lay out the sums for `network`."""
        last = len(network.layers) - 1
        lowest = min(network.learning, default=last)
        sums = {k for k in network.skips if k > lowest}  # below, no errors are computed
        error_layers = sorted({*network.learning, *sums, last})
        self._inputs: list[tuple[slice, Shape]] = []
        self._errors: dict[int, tuple[slice, Shape]] = {}
        self.size = 0
        for layer in network.layers:
            self._inputs.append((self._take(prod(layer.mean_shape)), layer.mean_shape))
        for index in error_layers:
            shape = network.layers[index].output_shape
            self._errors[index] = (self._take(prod(shape)), shape)
        self._targets = self._take(network.outputs)

    def _take(self, size: int) -> slice:
        self.size += size
        return slice(self.size - size, self.size)

    def inputs(self, layer: int) -> slice:
        """The sum of this layer's inputs."""
        return self._inputs[layer][0]

    def errors(self, layer: int) -> slice:
        """The sum of the errors at this layer's outputs, if it is one that has it."""
        return self._errors[layer][0]

    def sums_of(self, layer: int, flat: Array) -> SumBuffers:
        """Views of one layer's sums in `flat`."""
        span, shape = self._inputs[layer]
        errors = self._errors.get(layer)
        return SumBuffers(flat[span].reshape(shape), flat[errors[0]] if errors else None)

    def add_targets(self, flat: Array, weights: Array, targets: Array) -> None:
        """Write Σ_n w_n y_n."""
        np.matmul(weights, targets, out=flat[self._targets])

    def means(self, flat: Array, weight: Floats | float) -> Means:
        """The means, from the sums over a minibatch and its total `weight`.

        For S steps at once: `flat` (S, size) and `weight` (S, 1).
        """
        mean = flat / np.asarray(weight, flat.dtype)
        steps = flat.shape[:-1]
        return Means(
            inputs=[mean[..., span].reshape(*steps, 1, *shape) for span, shape in self._inputs],
            errors={
                layer: mean[..., span].reshape(*steps, 1, *shape)
                for layer, (span, shape) in self._errors.items()
            },
            targets=mean[..., self._targets].reshape(*steps, 1, -1),
        )
