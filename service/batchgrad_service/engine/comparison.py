"""How far each shortcut is from the mean gradient G, whole and layer by layer.

Exact: G_l = mean_n vjp(a_n, δ_n). Frozen: F_l = vjp(ā, δ̄), the exact mean input and mean error
of this layer. Shortcut: s_l. The gap G - s is (G - F), the *covariance* that averaging destroys
at this layer, plus (F - s), the *propagation* of what was lost above. Norms of differences are
taken of the explicit difference: the factored form loses half the digits and can go negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import loss_and_error
from batchgrad_workers.layers import Parameters
from batchgrad_workers.losses import Loss
from batchgrad_workers.means import Means
from batchgrad_workers.network import Network


@dataclass(frozen=True)
class Agreement:
    """A shortcut's gradient s against G; None where a norm is zero or not finite.

    relative_error ‖G - s‖/‖G‖, cosine_similarity ⟨G, s⟩/(‖G‖‖s‖), norm_ratio ‖s‖/‖G‖.
    """

    relative_error: float | None
    cosine_similarity: float | None
    norm_ratio: float | None


@dataclass(frozen=True)
class LayerGap:
    """One layer's gap: relative error, and the norms of its two parts."""

    name: str
    relative_error: float | None
    covariance_norm: float
    propagation_norm: float


@dataclass(frozen=True)
class Comparison:
    """One shortcut measured; `layers` is None for mean_of_means, which has no such parts."""

    agreement: Agreement
    layers: list[LayerGap] | None


class Shortcuts:
    """The gradients that averaging early gives, for one network and loss."""

    def __init__(self, network: Network, loss: Loss) -> None:
        """Bind them."""
        self._network = network
        self._loss = loss

    def averaged_error(self, views: Sequence[Parameters], means: Means) -> Array:
        """One backward pass (P,) of the mean output error, each layer at its mean input."""
        outputs = [
            layer.forward(parameters, inputs)
            for layer, parameters, inputs in zip(
                self._network.layers, views, means.inputs, strict=True
            )
        ]
        last = len(outputs) - 1
        return self._backward(views, means.inputs, outputs, means.errors[last], last)

    def mean_example(self, views: Sequence[Parameters], means: Means) -> Array:
        """The ordinary gradient (P,) at the one example (mean input, mean target)."""
        activations = self._network.forward(views, means.inputs[0])
        _, error = loss_and_error(self._loss, activations[-1], means.targets)
        last = len(activations) - 2
        return self._backward(views, activations[:-1], activations[1:], error, last)

    def frozen(self, means: Means) -> Array:
        """F (P,): every layer's vjp at its exact mean input and exact mean error."""
        gradient = np.empty(self._network.size, means.targets.dtype)
        into = self._network.views(gradient)
        one = np.ones(1, gradient.dtype)
        for layer in self._network.learning:
            self._network.layers[layer].gradient_sums(
                means.inputs[layer], means.errors[layer], one, into[layer]
            )
        return gradient

    def from_depth(
        self, views: Sequence[Parameters], means: Means, exact: Array, layer: int
    ) -> Array:
        """The gradient (P,) when averaging starts at `layer`'s output: exact above it."""
        outputs = [
            self._network.layers[k].forward(views[k], means.inputs[k]) for k in range(layer + 1)
        ]
        below = self._backward(views, means.inputs, outputs, means.errors[layer], layer)
        gradient = exact.copy()
        for k in self._network.learning:
            if k <= layer:
                span = self._network.layer_span(k)
                gradient[span] = below[span]
        return gradient

    def _backward(
        self,
        views: Sequence[Parameters],
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        error: Array,
        top: int,
    ) -> Array:
        """Carry `error`, one row at layer `top`'s output, down to layer 0; gradients (P,)."""
        gradient = np.zeros(self._network.size, error.dtype)
        into = self._network.views(gradient)
        one = np.ones(1, error.dtype)
        for index in range(top, -1, -1):
            layer = self._network.layers[index]
            if into[index]:
                layer.gradient_sums(inputs[index], error, one, into[index])
            if index:
                error = layer.backward(views[index], inputs[index], outputs[index], error)
        return gradient


def norm(vector: Array) -> float:
    """‖v‖."""
    return float(np.sqrt(np.dot(vector, vector)))


def agreement(exact: Array, shortcut: Array) -> Agreement:
    """How far `shortcut` (P,) is from `exact` (P,)."""
    exact_norm, shortcut_norm = norm(exact), norm(shortcut)
    if not exact_norm or not isfinite(shortcut_norm):
        return Agreement(None, None, None)
    cosine = None
    if shortcut_norm:
        inner = float(np.dot(exact, shortcut)) / (exact_norm * shortcut_norm)
        cosine = min(1.0, max(-1.0, inner))
    return Agreement(norm(exact - shortcut) / exact_norm, cosine, shortcut_norm / exact_norm)


def compare(network: Network, exact: Array, frozen: Array, shortcut: Array) -> Comparison:
    """Measure one shortcut, whole and by layer; all arguments (P,)."""
    gaps = []
    for layer in network.learning:
        span = network.layer_span(layer)
        layer_norm = norm(exact[span])
        error = norm(exact[span] - shortcut[span])
        gaps.append(
            LayerGap(
                str(layer),
                error / layer_norm if layer_norm else None,
                norm(exact[span] - frozen[span]),
                norm(frozen[span] - shortcut[span]),
            )
        )
    return Comparison(agreement(exact, shortcut), gaps)
