"""Reference networks and their gradients, by explicit loops over layers and units, no arrays.

Derivatives are complex steps, Im f(x + ih)/h, exact to machine precision (Squire and Trapp 1998).
A function in pieces chooses its piece by the real part.
"""

import cmath
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

from tests.question.reference_layers import (
    Shape,
    Spec,
    Vector,
    in_a_row,
    output,
    parameter_shapes,
)

STEP = 1e-30


def derivative(function: Callable[[Vector], complex], point: Sequence[float]) -> list[float]:
    """∂f/∂x_i for every i, by one complex step each."""
    slopes = []
    for i in range(len(point)):
        moved: Vector = [complex(x) for x in point]
        moved[i] += 1j * STEP
        slopes.append(function(moved).imag / STEP)
    return slopes


def size(r: complex) -> complex:
    """|r| of a real number; its derivative at 0 is 0."""
    return r if r.real > 0 else -r if r.real < 0 else 0j


OUTPUT_LOSSES: dict[str, Callable[[complex, float], complex]] = {
    "squared_error": lambda f, y: (f - y) ** 2,
    "absolute_error": lambda f, y: size(f - y),
    "huber": lambda f, y: (f - y) ** 2 / 2 if abs((f - y).real) <= 1 else size(f - y) - 0.5,
    "linear_error": lambda f, y: y - f,
    "sigmoid_cross_entropy": lambda f, y: cmath.log(1 + cmath.exp(f)) - y * f,
}
"""One output's part of those losses that are sums over outputs; a new one gets a line here."""


def loss_of(name: str, outputs: Vector, target: Sequence[float]) -> complex:
    """ℓ of one example; `target` has a number per output, a one-hot row for classes."""
    if name == "softmax_cross_entropy":
        log_total = cmath.log(sum(cmath.exp(f) for f in outputs))
        return sum((y * (log_total - f) for f, y in zip(outputs, target, strict=True)), 0j)
    return sum((OUTPUT_LOSSES[name](f, y) for f, y in zip(outputs, target, strict=True)), 0j)


class ReferenceNetwork:
    """A network at θ, given as one list per layer: weight in C order, then bias."""

    def __init__(
        self, layers: list[Spec], shape: Shape, parameters: dict[str, Any], loss: str
    ) -> None:
        """Flatten the parameters, layer by layer; `shape` is one example's."""
        self.layers, self.loss = in_a_row(layers, shape), loss
        self.theta: list[list[float]] = []
        for at in self.layers:
            shapes = parameter_shapes(at.spec, at.shape)
            named = [parameters.get(f"{at.name}.{name}", []) for name in shapes]
            self.theta.append([x for value in named for x in numbers(value)])
        self.learning = [k for k, own in enumerate(self.theta) if own]

    def layer(self, k: int, own: Sequence[complex], a: Sequence[complex]) -> Vector:
        """Output of layer k with parameters `own` at input a."""
        return output(self.layers[k].spec, self.layers[k].shape, own, a)

    def inputs(self, x: Sequence[complex], below: Sequence[Vector] = ()) -> list[Vector]:
        """Every layer's input, and at the end the output; x follows the inputs `below`."""
        found = [*below, list(x)]
        for k in range(len(below), len(self.layers)):
            begin, z = self.layers[k].begin, self.layer(k, self.theta[k], found[-1])
            if begin is not None:
                z = [a + b for a, b in zip(z, found[begin], strict=True)]
            found.append(z)
        return found

    def error(self, k: int, x: Sequence[float], y: Sequence[float]) -> list[float]:
        """δ: derivative of this example's loss by layer k's output."""
        trace = self.inputs(x)
        here, below = [a.real for a in trace[k + 1]], trace[: k + 1]
        return derivative(lambda z: loss_of(self.loss, self.inputs(z, below)[-1], y), here)

    def loss_value(self, x: Sequence[float], y: Sequence[float]) -> float:
        """ℓ of one example."""
        return loss_of(self.loss, self.inputs(x)[-1], y).real

    def gradient(self, x: Sequence[float], y: Sequence[float]) -> list[list[float]]:
        """One example's g, one list per layer."""

        def moved(k: int) -> Callable[[Vector], complex]:
            below = self.inputs(x)[: k + 1]

            def loss(own: Vector) -> complex:
                z = self.layer(k, own, below[k])
                return loss_of(self.loss, self.inputs(z, below)[-1], y)

            return loss

        return [self.learned(k, derivative(moved(k), own)) for k, own in enumerate(self.theta)]

    def learned(self, k: int, gradient: list[float]) -> list[float]:
        """Without the padding row of an embedding, which never learns."""
        spec = self.layers[k].spec
        if spec.get("padding_idx") is None:
            return gradient
        row, dim = spec["padding_idx"], spec["embedding_dim"]
        return gradient[: row * dim] + [0.0] * dim + gradient[(row + 1) * dim :]

    def vjp(
        self, k: int, a: Sequence[float], delta: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """From δ at layer k's output: its parameters' gradient, and the error at its input."""

        def product(z: Vector) -> complex:
            return sum((d * each for d, each in zip(delta, z, strict=True)), 0j)

        own = derivative(lambda theta: product(self.layer(k, theta, a)), self.theta[k])
        return self.learned(k, own), derivative(
            lambda x: product(self.layer(k, self.theta[k], x)), a
        )


def numbers(nested: Any) -> list[float]:
    """The numbers of nested lists, in order."""
    if not isinstance(nested, list):
        return [nested]
    return [x for part in nested for x in numbers(part)]


def mean(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """Σ w_n row_n / Σ w_n."""
    return [
        sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights)
        for column in zip(*rows, strict=True)
    ]


def norm(vector: Sequence[float]) -> float:
    """‖v‖."""
    return sqrt(sum(x * x for x in vector))


def minus(left: Sequence[float], right: Sequence[float]) -> list[float]:
    """The difference."""
    return [a - b for a, b in zip(left, right, strict=True)]


def joined(layers: Sequence[Sequence[float]]) -> list[float]:
    """One list of all layers."""
    return [x for layer in layers for x in layer]


def agreement(exact: list[float], shortcut: list[float]) -> dict[str, float | None]:
    """The three figures of a shortcut."""
    size, own = norm(exact), norm(shortcut)
    inner = sum(a * b for a, b in zip(exact, shortcut, strict=True))
    return {
        "relative_error": norm(minus(exact, shortcut)) / size if size else None,
        "cosine_similarity": inner / (size * own) if size and own else None,
        "norm_ratio": own / size if size else None,
    }
