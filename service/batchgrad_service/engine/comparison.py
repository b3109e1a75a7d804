"""How far each shortcut is from the mean gradient G, whole and layer by layer.

Exact: G_l = mean_n vjp(a_n, δ_n). Frozen: F_l = vjp(ā, δ̄), the exact mean input and mean error
of this layer. Shortcut: s_l. The gap G - s is (G - F), the *covariance* that averaging destroys
at this layer, plus (F - s), the *propagation* of what was lost above. Norms of differences are
taken of the explicit difference: the factored form loses half the digits and can go negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from batchgrad.contract import ShortcutName
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import loss_and_error
from batchgrad_workers.layers import Layer, Parameters
from batchgrad_workers.layers.linear import Linear
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


FROZEN, AVERAGED_ERROR, MEAN_EXAMPLE = 0, 1, 2
"""Places in `Rows`: what F_l, averaged_error and mean_example take as a layer's (a, δ)."""

PLACES: dict[ShortcutName, int] = {"averaged_error": AVERAGED_ERROR, "mean_example": MEAN_EXAMPLE}

BLOCK_BYTES = 1 << 20
"""How much of a layer's gradient is compared at once, so that it stays in the cache."""

Rows = dict[int, tuple[Array, Array]]
"""For each layer with parameters its inputs (3, …) and errors (3, …): one row a shortcut."""


class Shortcuts:
    """The gradients that averaging early gives, for one network and loss.

    Each is one example's gradient in every layer, vjp(a, δ), so it is kept as the pair (a, δ) and
    formed only where it has to be.
    """

    def __init__(self, network: Network, loss: Loss) -> None:
        """Bind them."""
        self._network = network
        self._loss = loss

    def rows(self, views: Sequence[Parameters], means: Means) -> Rows:
        """One forward and one backward pass of two made-up examples.

        averaged_error: the mean output error, each layer at its exact mean input. mean_example:
        the ordinary passes of the one example (mean input, mean target).
        """
        layers = self._network.layers
        example = means.inputs[0]
        inputs, outputs = [], []
        for layer, parameters, mean in zip(layers, views, means.inputs, strict=True):
            inputs.append(np.concatenate([mean, example]))
            outputs.append(layer.forward(parameters, inputs[-1]))
            example = outputs[-1][1:]
        _, error = loss_and_error(self._loss, example, means.targets)
        errors = np.concatenate([means.errors[len(layers) - 1], error])
        found: Rows = {}
        for index in range(len(layers) - 1, -1, -1):
            if index in means.errors and self._network.layers[index].parameter_shapes:
                found[index] = (
                    np.concatenate([means.inputs[index], inputs[index]]),
                    np.concatenate([means.errors[index], errors]),
                )
            if index:
                errors = layers[index].backward(views[index], inputs[index], outputs[index], errors)
        return found

    def gradient(self, rows: Rows, place: int) -> Array:
        """The gradient (P,) of one of `rows`."""
        dtype = next(iter(rows.values()))[1].dtype if rows else np.float64
        gradient, one = np.empty(self._network.size, dtype), np.ones(1, dtype)
        into = self._network.views(gradient)
        for index, (inputs, errors) in rows.items():
            self._network.layers[index].gradient_sums(
                inputs[place : place + 1], errors[place : place + 1], one, into[index]
            )
        return gradient

    def from_depth(
        self, views: Sequence[Parameters], means: Means, exact: Array, layer: int
    ) -> Array:
        """The gradient (P,) when averaging starts at `layer`'s output: exact above it."""
        gradient = exact.copy()
        into = self._network.views(gradient)
        error, one = means.errors[layer], np.ones(1, exact.dtype)
        for index in range(layer, -1, -1):
            below, mean = self._network.layers[index], means.inputs[index]
            if into[index]:
                below.gradient_sums(mean, error, one, into[index])
            if index:
                error = below.backward(views[index], mean, below.forward(views[index], mean), error)
        return gradient

    def compare(self, exact: Array, rows: Rows) -> dict[ShortcutName, Comparison]:
        """averaged_error and mean_example against G = `exact` (P,), whole and by layer."""
        views = self._network.views(exact)
        products = {
            index: _products(self._network.layers[index], views[index], *rows[index])
            for index in self._network.learning
        }
        return {name: _comparison(products, place) for name, place in PLACES.items()}


EXACT, DIFFERENCE, PROPAGATION, INNER, OWN = range(5)
"""Rows of `Products`: ‖G_l‖², ‖G_l - v‖², ‖F_l - v‖², ⟨G_l, v⟩ and ‖v‖², by place (3,)."""

Products = list[list[float]]


def _products(layer: Layer, exact: Parameters, inputs: Array, errors: Array) -> Products:
    """Form the rows' gradients v = vjp(a, δ), and compare them."""
    if isinstance(layer, Linear) and len(layer.input_shape) == 1:
        return _linear_products(exact, inputs, errors)
    found = np.zeros((5, 3))
    for name, formed in layer.each_gradient(inputs, errors).items():
        gradients, part = formed.reshape(3, -1), exact[name].reshape(-1)
        lost = gradients[FROZEN] - gradients
        gap = part - gradients
        found[EXACT] += np.vecdot(part, part)
        found[DIFFERENCE] += np.vecdot(gap, gap)
        found[PROPAGATION] += np.vecdot(lost, lost)
        found[INNER] += gradients @ part
        found[OWN] += np.vecdot(gradients, gradients)
    products: Products = found.tolist()
    return products


def _linear_products(exact: Parameters, inputs: Array, errors: Array) -> Products:
    """The same where v is δ aᵀ: only differences are formed, a block at a time in the cache.

    ‖v‖² = ‖δ‖² (‖a‖² + 1) and ⟨G, v⟩ = δᵀ (G a) are factored. averaged_error has the mean input
    that F has, so F - v = (δ̄ - δ) āᵀ is factored too, after the difference was taken.
    """
    weight, bias = exact["weight"], exact.get("bias")
    lost = errors[FROZEN] - errors
    sizes = np.vecdot(inputs, inputs).astype(np.float64) + (bias is not None)
    found = np.zeros((5, 3))
    found[EXACT] = np.vdot(weight, weight)
    found[INNER] = np.vecdot(errors, inputs @ weight.T)
    found[OWN] = np.vecdot(errors, errors) * sizes
    if bias is not None:
        gap = bias - errors
        found[EXACT] += np.vecdot(bias, bias)
        found[INNER] += errors @ bias
        found[DIFFERENCE] = np.vecdot(gap, gap)
        found[PROPAGATION] = np.vecdot(lost, lost)
    found[PROPAGATION, AVERAGED_ERROR] = np.vecdot(lost, lost)[AVERAGED_ERROR] * sizes[FROZEN]
    rows = max(1, BLOCK_BYTES // (3 * weight.shape[1] * weight.itemsize))
    for start in range(0, len(weight), rows):
        block = slice(start, start + rows)
        gradients = errors[:, block, None] * inputs[:, None, :]
        apart = (gradients[FROZEN] - gradients[MEAN_EXAMPLE]).reshape(-1)
        found[PROPAGATION, MEAN_EXAMPLE] += np.dot(apart, apart)
        np.subtract(weight[block], gradients, out=gradients)
        gaps = gradients.reshape(3, -1)
        found[DIFFERENCE] += np.vecdot(gaps, gaps)
    products: Products = found.tolist()
    return products


def _comparison(products: dict[int, Products], place: int) -> Comparison:
    gaps = [
        LayerGap(
            name=str(index),
            relative_error=_ratio(each[DIFFERENCE][place], each[EXACT][place]),
            covariance_norm=sqrt(each[DIFFERENCE][FROZEN]),
            propagation_norm=sqrt(each[PROPAGATION][place]),
        )
        for index, each in products.items()
    ]
    exact, difference, inner, own = (
        sum(each[figure][place] for each in products.values())
        for figure in (EXACT, DIFFERENCE, INNER, OWN)
    )
    return Comparison(_agreement(exact, difference, inner, own), gaps)


def _ratio(numerator: float, denominator: float) -> float | None:
    return sqrt(numerator / denominator) if denominator else None


def _agreement(exact: float, difference: float, inner: float, own: float) -> Agreement:
    """From ‖G‖², ‖G - s‖², ⟨G, s⟩ and ‖s‖²."""
    if not exact or not isfinite(own):
        return Agreement(None, None, None)
    cosine = min(1.0, max(-1.0, inner / sqrt(exact * own))) if own else None
    return Agreement(sqrt(difference / exact), cosine, sqrt(own / exact))


def agreement(exact: Array, shortcut: Array) -> Agreement:
    """How far `shortcut` (P,) is from `exact` (P,)."""
    gap = exact - shortcut
    figures = ((exact, exact), (gap, gap), (exact, shortcut), (shortcut, shortcut))
    return _agreement(*(float(np.dot(left, right)) for left, right in figures))


def norm(vector: Array) -> float:
    """‖v‖."""
    return sqrt(float(np.dot(vector, vector)))
