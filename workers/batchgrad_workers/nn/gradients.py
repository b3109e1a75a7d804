"""Per-example gradients of one microbatch: their sums and norms, without forming N x P numbers.

A layer's per-example gradient is a product of its input a_n, from the forward pass, and its error
δ_n, from the backward pass; sums and norms follow from these two. Results are sums over examples;
`microbatch_means` alone are divided by weights here. Symbols as in `layers.base`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import Any, NamedTuple

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers, Keys
from batchgrad_workers.nn.chunks import chunks
from batchgrad_workers.nn.dense import DenseNetwork, padding
from batchgrad_workers.nn.kernels.gradients import totals_and_norms
from batchgrad_workers.nn.kernels.norms import RUN, scaled_norms
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.nn.losses import Loss
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network, Views
from batchgrad_workers.reduction.sums import WEIGHING, GradientSums, complete


class Microbatch(NamedTuple):
    """Rows of a minibatch: inputs (n, …), target rows (n, outputs), weights (n,), in θ's dtype.

    Behind these inputs there may be more, as `Differentiator.padding` asks. The minibatch's sums
    use `factor` times these weights. Dropout draws by `keys` (n,); None: it drops nothing.
    """

    inputs: Array
    targets: Array
    weights: Array
    factor: float = 1.0
    keys: Keys | None = None

    def part(self, rows: slice | Integers) -> "Microbatch":
        """Some of its examples."""
        keys = None if self.keys is None else self.keys[rows]
        return Microbatch(
            self.inputs[rows], self.targets[rows], self.weights[rows], self.factor, keys
        )


class Passed(NamedTuple):
    """A layer after both passes: its number, its inputs (n, …), and δ (n, …) at its output."""

    layer: int
    inputs: Array
    error: Array


@dataclass(frozen=True)
class Differentiator:
    """Compute the sums of microbatches; `means` is None if mean inputs are not needed."""

    network: Network
    loss: Loss
    means: MeansLayout | None
    with_microbatch_means: bool

    def sums(self, views: Views, batch: Microbatch) -> tuple[GradientSums, Array, Floats]:
        """Sums over one microbatch, each example's loss ℓ_n (n,), and ‖g_n‖ (n,) in float64.

        Losses and norms do not include weights. A norm is infinite only if a number of the gradient
        is not finite.
        """
        sums, losses, norms = self._in_halves(views, batch)
        complete(sums, batch.factor, with_microbatch_means=self.with_microbatch_means)
        return sums, losses, norms

    def _in_halves(self, views: Views, batch: Microbatch) -> tuple[GradientSums, Array, Floats]:
        """Sums without those per microbatch; many examples are split in halves, for accuracy."""
        half = len(batch.weights) // 2
        if half < RUN:
            return self._at_once(views, batch)
        left = self._in_halves(views, batch.part(slice(half)))
        right = self._in_halves(views, batch.part(slice(half, None)))
        return (
            GradientSums.join(left[0], right[0]),
            np.concatenate([left[1], right[1]]),
            np.concatenate([left[2], right[2]]),
        )

    def padding(self, examples: int) -> int:
        """How many rows of inputs to put behind a microbatch's, so that products take them all."""
        return padding(examples) if self._dense and 1 < examples < 2 * RUN else 0

    def takes_pairs(self, examples: int, dtype: np.dtype[Any]) -> bool:
        """Whether `joined_sums` takes two microbatches of so many examples."""
        if self._dense is None or self.with_microbatch_means or not 1 < examples < 2 * RUN:
            return False
        return self._dense.of_pairs(examples, dtype) is not None

    def joined_sums(
        self, views: Views, batch: Microbatch, microbatches: int
    ) -> tuple[GradientSums, Array, Floats]:
        """The joined sums of microbatches of equal size, padded; ℓ_n and ‖g_n‖ of them all.

        The bits are those of one by one. Weights have no factor.
        """
        weights = batch.weights.reshape(microbatches, -1)
        inputs = batch.inputs.reshape(len(batch.inputs), -1)
        sums, losses, norms, sure = self._densely(views, inputs, weights, batch.targets)
        sums.totals[WEIGHING] = (weights.sum(axis=1) > 0).sum()
        if not sure:
            parts = (each.reshape(microbatches, -1, *each.shape[1:]) for each in batch[:3])
            for own, own_norms in zip(zip(*parts, strict=True), norms, strict=True):
                self._correct_norms(views, Microbatch(*own), own_norms)
        return sums, losses.reshape(-1), norms.reshape(-1)

    def _at_once(self, views: Views, batch: Microbatch) -> tuple[GradientSums, Array, Floats]:
        n, weights = len(batch.weights), batch.weights
        if self._dense and n > 1:
            inputs = batch.inputs.reshape(len(batch.inputs), -1)
            missing = n + padding(n) - len(inputs)
            if missing or not (inputs.flags.c_contiguous and inputs.flags.writeable):
                inputs = np.concatenate([inputs, inputs[:missing]])
            sums, losses, norms, sure = self._densely(
                views, inputs, weights.reshape(1, n), batch.targets
            )
            losses, norms = losses[0], norms[0]
        else:
            gradient = np.empty(self.network.size, weights.dtype)
            means = np.empty(self._means_size, weights.dtype)
            norms, totals = np.zeros(n), np.zeros(3)
            losses = self._by_layers(views, batch, gradient, means, norms)
            sure = totals_and_norms(losses, weights, norms, totals)
            sums = GradientSums(gradient, totals, np.empty(0, weights.dtype), means)
        if not sure:
            self._correct_norms(views, batch, norms)
        return sums, losses, norms

    def _densely(
        self, views: Views, inputs: Array, weights: Array, targets: Array
    ) -> tuple[GradientSums, Array, Floats, bool]:
        """By compiled passes: the joined sums, ℓ_n and ‖g_n‖ (k, n), and if all norms are sure.

        From inputs (k r, i), weights (k, n) and target rows (k n, outputs): `DenseNetwork.fill`.
        """
        if self._dense is None:
            raise ValueError("a network of other layers has no compiled passes")
        k, dtype = len(weights), weights.dtype
        gradient, means = np.empty(self.network.size, dtype), np.empty((k, self._means_size), dtype)
        norms, totals = np.zeros(weights.shape), np.zeros((k, 3))
        losses, sure = self._dense.fill(
            self.loss, views.flat, inputs, weights, targets, gradient, means, norms, totals
        )
        none = np.empty(0, dtype)
        sums = GradientSums(gradient, reduce(np.add, totals), none, reduce(np.add, means))
        return sums, losses, norms, sure

    @property
    def _means_size(self) -> int:
        return self.means.size if self.means else 0

    @cached_property
    def _dense(self) -> DenseNetwork | None:
        """For two rows or more. One row goes by layers, with the bits of its mean's own passes.

        So the shortcuts of one example are exactly its gradient.
        """
        return DenseNetwork.of(self.network, self.means)

    def _by_layers(
        self, views: Views, batch: Microbatch, gradient: Array, means: Array, norms: Floats
    ) -> Array:
        """Write Σ_n w_n g_n and the other sums, add ‖g_n‖² to the norms; return the losses."""
        losses, passed = self.passes(views, batch)
        out = self.network.views(gradient)
        for index, inputs, error in passed:
            mean_sums = self.means.sums_of(index, means) if self.means else None
            if mean_sums or out[index]:
                layer = self.network.layers[index]
                layer.sums(inputs, error, batch.weights, out[index], mean_sums, norms)
        if self.means:
            self.means.add_targets(means, batch.weights, batch.targets)
        return losses

    def _correct_norms(self, views: Sequence[Parameters], batch: Microbatch, norms: Floats) -> None:
        """Form g_n for norms that are NaN, or too large for their type, and replace them."""
        uncertain = np.flatnonzero(~(norms <= np.finfo(batch.weights.dtype).max))
        for run in chunks(len(uncertain), self.network.size * norms.itemsize):
            some = uncertain[run]
            each = self.each(views, batch.part(some))
            norms[some] = scaled_norms(list(each.values()))

    def passes(
        self, views: Sequence[Parameters], batch: Microbatch
    ) -> tuple[Array, Iterator[Passed]]:
        """Each example's loss (n,), and the layers from the last to the first, while δ goes back.

        Below the lowest layer with parameters there is no δ, and a layer has that of the lowest.
        """
        network = self.network
        views = network.drawing(views, batch.keys)
        activations = network.forward(views, batch.inputs)
        losses, error = loss_and_error(self.loss, activations[-1], batch.targets)

        def backward(error: Array) -> Iterator[Passed]:
            skipped: dict[int, Array] = {}
            lowest = network.learning[0] if network.learning else len(network.layers)
            for index in reversed(range(len(network.layers))):
                layer, inputs = network.layers[index], activations[index]
                yield Passed(index, inputs, error)
                if index > lowest:
                    vjp = partial(layer.backward, views[index], inputs, activations[index + 1])
                    error = network.backward(index, error, skipped, vjp)

        return losses, backward(error)

    def each(self, views: Sequence[Parameters], batch: Microbatch) -> dict[str, Array]:
        """g_n of every example by parameter name, (n, *shape). N x P numbers: for few examples."""
        found: dict[str, Array] = {}
        for index, inputs, error in self.passes(views, batch)[1]:
            for name, gradients in self.network.layers[index].each_gradient(inputs, error).items():
                found[f"{self.network.names[index]}.{name}"] = gradients
        return {each.name: found[each.name] for each in self.network.slices}


def loss_and_error(loss: Loss, outputs: Array, targets: Array) -> tuple[Array, Array]:
    """ℓ_n (n,) and ∂ℓ_n/∂outputs in the outputs' shape."""
    losses, error = loss.function(outputs.reshape(len(outputs), -1), targets)
    return losses, error.reshape(outputs.shape)
