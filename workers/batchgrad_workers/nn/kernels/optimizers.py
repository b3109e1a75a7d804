"""Update rules on flat vectors, in place.

Compiled without fused multiply-adds: LLVM fuses other pairs in a vector than in the numbers that
are left at the end of a block, whose bits would then depend on where a block ends (seen with AVX2).
"""

from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.jit import kernel

Number = np.floating[Any]


def _sgd(
    parameters: Array,
    gradient: Array,
    velocity: Array,
    learning_rate: Number,
    momentum: Number,
    weight_decay: Number,
    nesterov: bool,
) -> tuple[Array, Array]:
    """G = G + λθ; v = μv + g; θ -= α (g + μv if nesterov else v)."""
    g = gradient + weight_decay * parameters
    v = momentum * velocity + g
    return parameters - learning_rate * (g + momentum * v if nesterov else v), v


@kernel(
    "parameters (p), gradient (p), velocity (p), learning_rate, momentum, weight_decay, nesterov"
    " -> parameters (p), velocity (p)",
    _sgd,
    in_order=True,
)
def sgd(
    parameters: Array,
    gradient: Array,
    velocity: Array,
    learning_rate: Number,
    momentum: Number,
    weight_decay: Number,
    nesterov: bool,
) -> None:
    """`velocity` may be empty where momentum is 0."""
    for p in range(len(parameters)):
        change = gradient[p] + weight_decay * parameters[p]
        if momentum:
            velocity[p] = momentum * velocity[p] + change
            change = change + momentum * velocity[p] if nesterov else velocity[p]
        parameters[p] -= learning_rate * change


def _adam(
    parameters: Array,
    gradient: Array,
    mu: Array,
    nu: Array,
    step_size: Number,
    beta1: Number,
    one_minus_beta1: Number,
    beta2: Number,
    one_minus_beta2: Number,
    root_bias_correction2: Number,
    eps: Number,
    shrinkage: Number,
    weight_decay: Number,
) -> tuple[Array, Array, Array]:
    """μ = β₁μ + (1-β₁)g; ν = β₂ν + (1-β₂)g²; θ -= α μ̂ / (√ν̂ + ε)."""
    theta = shrinkage * parameters
    g = gradient + weight_decay * theta
    mu = beta1 * mu + one_minus_beta1 * g
    nu = beta2 * nu + one_minus_beta2 * g**2
    return theta - step_size * mu / (np.sqrt(nu) / root_bias_correction2 + eps), mu, nu


@kernel(
    "parameters (p), gradient (p), mu (p), nu (p), step_size, beta1, one_minus_beta1, beta2,"
    " one_minus_beta2, root_bias_correction2, eps, shrinkage, weight_decay"
    " -> parameters (p), mu (p), nu (p)",
    _adam,
    where={"nu": lambda nu: np.square(nu)},
    in_order=True,
)
def adam(
    parameters: Array,
    gradient: Array,
    mu: Array,
    nu: Array,
    step_size: Number,
    beta1: Number,
    one_minus_beta1: Number,
    beta2: Number,
    one_minus_beta2: Number,
    root_bias_correction2: Number,
    eps: Number,
    shrinkage: Number,
    weight_decay: Number,
) -> None:
    """`step_size` is α / (1 - β₁ᵗ), `root_bias_correction2` √(1 - β₂ᵗ).

    θ is first multiplied by `shrinkage`: 1 - αλ for AdamW, 1 for Adam. |g| counts as at most
    √(largest number), since ν holds squares; a g that is not finite makes θ NaN.
    """
    scalar = parameters.dtype.type
    most = np.sqrt(np.finfo(parameters.dtype).max) * scalar(0.99)
    infinite, undefined = scalar(np.inf), scalar(np.nan)
    for p in range(len(parameters)):
        theta = shrinkage * parameters[p]
        change = gradient[p] + weight_decay * theta
        change = min(max(change, -most), most) if abs(change) < infinite else undefined
        mu[p] = beta1 * mu[p] + one_minus_beta1 * change
        nu[p] = beta2 * nu[p] + one_minus_beta2 * (change * change)
        denominator = np.sqrt(nu[p]) / root_bias_correction2 + eps
        parameters[p] = theta - step_size * (mu[p] / denominator)
