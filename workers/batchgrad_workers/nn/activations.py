"""Activations, each beside its derivative.

`forward(a)` gives z; `backward(delta, a, z)` gives δ ∘ dz/da, the error at the activation's input.
Everything is elementwise: shapes go through unchanged. Definitions and defaults are PyTorch's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from batchgrad import contract
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels import activations as kernels
from batchgrad_workers.nn.special import erfc, expit

SQRT_HALF = float(np.sqrt(0.5))
INVERSE_SQRT_TAU = float(1.0 / np.sqrt(2.0 * np.pi))


@dataclass(frozen=True)
class Activation:
    """An elementwise function with its derivative."""

    forward: Callable[[Array], Array]
    backward: Callable[[Array, Array, Array], Array]


def identity() -> Activation:
    """Z = a."""
    return Activation(lambda a: a, lambda delta, _a, _z: delta)


def relu() -> Activation:
    """Z = max(a, 0); the derivative at 0 is 0."""

    def forward(a: Array) -> Array:
        z = np.empty_like(a)
        kernels.relu(a.ravel("K"), z.ravel("K"))
        return z

    def backward(delta: Array, a: Array, _z: Array) -> Array:
        below = np.empty_like(a)
        if delta.strides == a.strides:
            kernels.relu_vjp(delta.ravel("K"), a.ravel("K"), below.ravel("K"))
        else:
            below[...] = delta
            kernels.relu_vjp_in_place(a.ravel("K"), below.ravel("K"))
        return below

    return Activation(forward, backward)


def leaky_relu(negative_slope: float) -> Activation:
    """Z = a where a > 0, else slope · a."""
    return Activation(
        lambda a: np.where(a > 0, a, negative_slope * a),
        lambda delta, a, _z: np.where(a > 0, delta, negative_slope * delta),
    )


def tanh() -> Activation:
    """Z = tanh a, dz/da = 1 - z² = 4e/(1 + e)² with e = e^-2|a|, of which nothing cancels."""
    return Activation(np.tanh, lambda delta, a, _z: _bell(delta, a, 2))


def sigmoid() -> Activation:
    """Z = 1/(1 + e^-a), dz/da = z (1 - z) = e/(1 + e)² with e = e^-|a|: nothing cancels."""
    return Activation(expit, lambda delta, a, _z: _bell(delta, a, 1))


def _bell(delta: Array, a: Array, scale: int) -> Array:
    """δ ∘ scale² e/(1 + e)², e = e^(-scale |a|)."""
    e = np.abs(a)
    e *= -scale
    np.exp(e, out=e)
    root = 1 + e
    e /= root
    e /= root
    e *= scale * scale
    e *= delta
    return e


def gelu() -> Activation:
    """Z = a Φ(a), dz/da = Φ(a) + a φ(a): the exact form of Hendrycks and Gimpel 2016.

    Φ(a) = erfc(-a/√2)/2; 1 + erf(a/√2) would cancel far below 0.
    """

    def normal_cdf(a: Array) -> Array:
        return 0.5 * erfc(a * -SQRT_HALF)

    def backward(delta: Array, a: Array, _z: Array) -> Array:
        density = np.exp(-0.5 * a * a) * INVERSE_SQRT_TAU
        return delta * (normal_cdf(a) + a * density)

    return Activation(lambda a: a * normal_cdf(a), backward)


def silu() -> Activation:
    """Z = a σ(a), dz/da = σ(a) + z (1 - σ(a))."""

    def backward(delta: Array, a: Array, z: Array) -> Array:
        gate = expit(a)
        return delta * (gate + z * (1 - gate))

    return Activation(lambda a: a * expit(a), backward)


def softplus() -> Activation:
    """Z = log(1 + e^a), dz/da = σ(a)."""
    return Activation(
        lambda a: np.logaddexp(a, np.zeros((), a.dtype)), lambda delta, a, _z: delta * expit(a)
    )


def elu(alpha: float) -> Activation:
    """Z = a where a > 0, else α (e^a - 1); dz/da = 1, else α e^a: z + α would cancel."""
    return Activation(
        lambda a: np.where(a > 0, a, alpha * np.expm1(np.minimum(a, 0))),
        lambda delta, a, _z: np.where(a > 0, delta, delta * (alpha * np.exp(np.minimum(a, 0)))),
    )


ACTIVATIONS: dict[str, Callable[..., Activation]] = {
    "identity": identity,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "gelu": gelu,
    "silu": silu,
    "softplus": softplus,
    "elu": elu,
}
"""By the contract's kind; arguments are the contract's fields."""


def make_activation(spec: contract.Activation) -> Activation:
    """The activation that `spec` describes."""
    fields = spec.model_dump()
    return ACTIVATIONS[fields.pop("kind")](**fields)
