"""A dense network as a table of stages, and its compiled passes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.dense import passes
from batchgrad_workers.nn.dense.pairs import padding, stages_of_pairs
from batchgrad_workers.nn.dense.passes import ABSENT, ACTIVATION, COLUMNS, OUTPUTS
from batchgrad_workers.nn.dense.products import AVAILABLE
from batchgrad_workers.nn.layers import Layer
from batchgrad_workers.nn.layers.linear import Linear
from batchgrad_workers.nn.losses import Loss, softmax_cross_entropy
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network


@dataclass(frozen=True)
class DenseNetwork:
    """Linear layers on vectors, with ReLU between any two of them, perhaps on flattened inputs.

    `stages` is the table of `passes`. `flattened` has the mean input of a first layer that
    flattens, and that of the layer above, which has the same numbers.
    """

    stages: Integers
    flattened: tuple[slice, slice] | None

    @classmethod
    def of(cls, network: Network, means: MeansLayout | None) -> "DenseNetwork | None":
        """The network with these means; None if it has other layers, or numpy another BLAS."""
        first = int(network.kinds[0] == "flatten")
        linear = [k for k, layer in enumerate(network.layers) if _on_vectors(layer)]
        relu = {k for k, kind in enumerate(network.kinds) if kind == "relu"}
        others = set(range(first, len(network.layers))) - relu - {*linear}
        if not AVAILABLE or network.skips or others or not linear or first not in linear:
            return None
        if any(k - 1 not in linear for k in relu) or linear[-1] != len(network.layers) - 1:
            return None
        starts = {(each.layer, each.local_name): each.start for each in network.slices}
        stages, activation = list[tuple[int, ...]](), 0
        for k in linear:
            has_relu = k + 1 in relu
            layer = network.layers[k]
            outputs = layer.output_shape[0]
            stages.append(
                (
                    layer.mean_shape[0],
                    outputs,
                    has_relu,
                    starts[k, "weight"],
                    starts.get((k, "bias"), ABSENT),
                    means.inputs(k).start if means else ABSENT,
                    means.errors(k).start if means else ABSENT,
                    means.inputs(k + 1).start if means and has_relu else ABSENT,
                    activation,
                    0,
                )
            )
            activation += outputs
        flattened = (means.inputs(0), means.inputs(1)) if means and first else None
        return cls(np.array(stages, np.int64).reshape(-1, COLUMNS), flattened)

    def fill(
        self,
        loss: Loss,
        parameters: Array,
        inputs: Array,
        weights: Array,
        targets: Array,
        gradient: Array,
        means: Array,
        norms: Floats,
        totals: Floats,
    ) -> tuple[Array, bool]:
        """Write Σ w_n g_n (P,), the other sums and ‖g_n‖ (k, n); return the losses ℓ_n (k, n).

        From inputs (k r, i) of k microbatches of n examples, r = n + `padding(n)`, weights (k, n)
        and target rows (k n, outputs). Means are (k, sizes), totals (k, 3); `norms` and `totals`
        are 0 before. Also returns whether all norms are sure.

        Raises:
            ValueError: microbatches have other rows, or two would have other bits than one by one.
        """
        k, n = weights.shape
        stages = self.stages if k == 1 else self.of_pairs(n, weights.dtype)
        if stages is None or k > 2 or len(inputs) != k * (n + padding(n)):
            raise ValueError(f"{k} microbatches of {n} at once, in {len(inputs)} rows")
        losses = np.empty(weights.shape, parameters.dtype)
        if loss.function is softmax_cross_entropy:
            sure = passes.classified(
                stages, parameters, inputs, weights, targets, losses,
                gradient, means, norms, totals,
            )  # fmt: skip
        else:
            last, rows = stages[-1], len(inputs)
            start, size = rows * last[ACTIVATION], rows * last[OUTPUTS]
            activations = np.empty(start + size, parameters.dtype)
            passes.forward(stages, parameters, inputs, weights, activations, means)
            examples = np.s_[:, :n]
            outputs = activations[start:].reshape(k, -1, int(last[OUTPUTS]))
            error = np.zeros_like(outputs)
            found, own_error = loss.function(outputs[examples].reshape(len(targets), -1), targets)
            losses[:] = found.reshape(losses.shape)
            error[examples] = own_error.reshape(error[examples].shape)
            sure = passes.backward(
                stages, parameters, inputs, weights, activations, targets, losses,
                error.reshape(rows, -1), gradient, means, norms, totals,
            )  # fmt: skip
        if self.flattened:
            to, of = self.flattened
            means[:, to] = means[:, of]
        return losses, sure

    def of_pairs(self, examples: int, dtype: np.dtype[Any]) -> Integers | None:
        """The stages for two microbatches of so many examples; None if they go one by one."""
        return stages_of_pairs(self.stages.tobytes(), examples, dtype)


def _on_vectors(layer: Layer) -> bool:
    return isinstance(layer, Linear) and len(layer.input_shape) == 1
