"""Per-example gradients of one microbatch: their sums and their norms, never N x P numbers.

A layer's per-example gradient is a product of what the forward pass left there (its input a_n)
and what the backward pass brings (its error δ_n), so sums and norms come from those two. All
are sums over examples: the mean is divided once, by the coordinator. Symbols as in `layers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.kernels.gradients import totals_and_norms
from batchgrad_workers.nn.kernels.norms import RUN, scaled_norms
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.nn.layers.chunks import chunks
from batchgrad_workers.nn.losses import Loss
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network

AnyFloats = TypeVar("AnyFloats", Array, npt.NDArray[np.float64])

LOSS, WEIGHT, WEIGHING = 0, 1, 2
"""Places in `GradientSums.totals`."""


@dataclass
class GradientSums:
    """Sums over a range of microbatches.

    `gradient` (P,) is Σ w_n g_n. `totals` (3,) float64: Σ w_n ℓ_n, Σ w_n, and the microbatches
    whose weights are not all 0. `microbatch_means` (P,) is Σ_m of microbatch m's own mean
    gradient; `means` the sums of `MeansLayout`; each empty, (0,), when not asked for.
    """

    gradient: Array
    totals: npt.NDArray[np.float64]
    microbatch_means: Array
    means: Array

    @staticmethod
    def join(left: "GradientSums", right: "GradientSums") -> "GradientSums":
        """Left + right, in left's memory where that is writable."""
        return GradientSums(
            add(left.gradient, right.gradient),
            add(left.totals, right.totals),
            add(left.microbatch_means, right.microbatch_means),
            add(left.means, right.means),
        )


class Microbatch(NamedTuple):
    """Rows of a minibatch: inputs (n, …), target rows (n, outputs), weights (n,), in θ's dtype.

    `factor` times these weights are those that the minibatch's sums are of.
    """

    inputs: Array
    targets: Array
    weights: Array
    factor: float = 1.0

    def part(self, rows: slice | Integers) -> "Microbatch":
        """Some of them."""
        return Microbatch(self.inputs[rows], self.targets[rows], self.weights[rows], self.factor)


@dataclass(frozen=True)
class Differentiator:
    """What turns microbatches into sums; `means` is None unless the mean inputs are wanted."""

    network: Network
    loss: Loss
    means: MeansLayout | None
    with_microbatch_means: bool

    def sums(
        self, views: Sequence[Parameters], batch: Microbatch
    ) -> tuple[GradientSums, Array, Floats]:
        """Sums over one microbatch, and every example's loss ℓ_n (n,) and ‖g_n‖ (n,), float64.

        Losses and norms are the examples' own, without their weights. A norm is infinite only
        where a number of the gradient is not finite.
        """
        sums, losses, norms = self._in_halves(views, batch)
        gradient, weight = sums.gradient, sums.gradient.dtype.type(sums.totals[WEIGHT])
        sums.totals[WEIGHING] = weight > 0
        if self.with_microbatch_means:
            sums.microbatch_means = gradient / weight if weight else gradient.copy()
        if batch.factor != 1.0:
            for weighted in (gradient, sums.means, sums.totals[: WEIGHT + 1]):
                np.multiply(weighted, batch.factor, out=weighted)
        return sums, losses, norms

    def _in_halves(
        self, views: Sequence[Parameters], batch: Microbatch
    ) -> tuple[GradientSums, Array, Floats]:
        """The same but for what is per microbatch; many examples in halves, which keeps digits."""
        half = len(batch.inputs) // 2
        if half < RUN:
            return self._at_once(views, batch)
        left = self._in_halves(views, batch.part(slice(half)))
        right = self._in_halves(views, batch.part(slice(half, None)))
        return (
            GradientSums.join(left[0], right[0]),
            np.concatenate([left[1], right[1]]),
            np.concatenate([left[2], right[2]]),
        )

    def _at_once(
        self, views: Sequence[Parameters], batch: Microbatch
    ) -> tuple[GradientSums, Array, Floats]:
        network, weights = self.network, batch.weights
        activations = network.forward(views, batch.inputs)
        losses, error = loss_and_error(self.loss, activations[-1], batch.targets)

        gradient = np.empty(network.size, weights.dtype)
        out = network.views(gradient)
        means = np.empty(self.means.size if self.means else 0, weights.dtype)
        norms = np.zeros(len(losses))
        lowest = network.learning[0] if network.learning else len(network.layers)
        for index in reversed(range(len(network.layers))):
            layer, inputs = network.layers[index], activations[index]
            mean_sums = self.means.sums_of(index, means) if self.means else None
            if mean_sums or out[index]:
                layer.sums(inputs, error, weights, out[index], mean_sums, norms)
            if index > lowest:
                error = layer.backward(views[index], inputs, activations[index + 1], error)
        if self.means:
            self.means.add_targets(means, weights, batch.targets)

        totals = np.zeros(3)
        if not totals_and_norms(losses, weights, norms, totals):
            self._form_unsure(views, batch, norms)
        return GradientSums(gradient, totals, np.empty(0, weights.dtype), means), losses, norms

    def _form_unsure(self, views: Sequence[Parameters], batch: Microbatch, norms: Floats) -> None:
        """Replace norms that are no number, or too large for their type, by those of g_n."""
        unsure = np.flatnonzero(~(norms <= np.finfo(batch.weights.dtype).max))
        for run in chunks(len(unsure), self.network.size * norms.itemsize):
            some = unsure[run]
            each = self.each(views, batch.part(some))
            norms[some] = scaled_norms(list(each.values()))

    def each(self, views: Sequence[Parameters], batch: Microbatch) -> dict[str, Array]:
        """g_n of every example by parameter name, (n, *shape): N x P numbers, for small N only."""
        activations = self.network.forward(views, batch.inputs)
        _, error = loss_and_error(self.loss, activations[-1], batch.targets)
        found: dict[str, Array] = {}
        for index in reversed(range(len(self.network.layers))):
            layer, inputs = self.network.layers[index], activations[index]
            for name, gradients in layer.each_gradient(inputs, error).items():
                found[f"{index}.{name}"] = gradients
            if index:
                error = layer.backward(views[index], inputs, activations[index + 1], error)
        return {each.name: found[each.name] for each in self.network.slices}


def loss_and_error(loss: Loss, outputs: Array, targets: Array) -> tuple[Array, Array]:
    """ℓ_n (n,) and ∂ℓ_n/∂outputs in the outputs' shape."""
    losses, error = loss.function(outputs.reshape(len(outputs), -1), targets)
    return losses, error.reshape(outputs.shape)


def add(left: AnyFloats, right: AnyFloats) -> AnyFloats:
    """Left + right, in left's memory where that is writable (Ray's results are not)."""
    if left.flags.writeable:
        left += right
        return left
    return left + right
